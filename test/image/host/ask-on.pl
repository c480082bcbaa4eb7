# ask-on.pl LOCAL-PORT ADDRESS PORT
# Asks over UDP from one port, again and again, so that it stays one connection to whoever tracks it; prints each answer
# that differs from the one before.
use strict;
use warnings;
use IO::Socket::INET;

$| = 1;
my ($local, $address, $port) = @ARGV;
my $socket = IO::Socket::INET->new(Proto => 'udp', LocalPort => $local, PeerAddr => $address, PeerPort => $port)
    or die "$!\n";
my $before = '';
while (1) {
    $socket->send('hello');
    my $ready = '';
    vec($ready, $socket->fileno, 1) = 1;
    if (select($ready, undef, undef, 0.1)) {
        defined $socket->recv(my $answer, 1500) or next;
        print $answer if $answer ne $before;
        $before = $answer;
    }
    select undef, undef, undef, 0.05;
}

# answer.pl NAME PROTOCOL:PORT...
# Tells its name and who asks, over TCP to whoever connects and over UDP to each packet.
use strict;
use warnings;
use IO::Socket::INET;

$SIG{CHLD} = 'IGNORE';
my $name = shift;
while (my $place = shift) {
    my ($proto, $port) = split /:/, $place;
    next if @ARGV && fork;
    my @listen = $proto eq 'tcp' ? (Listen => 50, ReuseAddr => 1) : ();
    my $socket = IO::Socket::INET->new(Proto => $proto, LocalPort => $port, @listen) or die "$proto $port: $!\n";
    if ($proto eq 'udp') {
        while (1) {
            $socket->recv(my $asked, 1500);
            $socket->send("$name " . $socket->peerhost . "\n");
        }
    }
    while (my $peer = $socket->accept) {
        # What is not read makes the end a reset, which may overtake the answer.
        sysread $peer, my $asked, 1500;
        print $peer "$name " . $peer->peerhost . "\n";
        close $peer;
    }
}

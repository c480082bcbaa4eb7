# ask.pl PROTOCOL ADDRESS PORT
# Prints what answers there. It waits for a second and a half, twice: how long this program takes to start is no answer.
use strict;
use warnings;
use IO::Select;
use IO::Socket::IP;
use Socket qw(AI_NUMERICHOST);

$SIG{PIPE} = 'IGNORE';
my ($proto, $address, $port) = @ARGV;
my $seconds = 1.5;
my @where = (PeerHost => $address, PeerPort => $port, GetAddrInfoFlags => AI_NUMERICHOST);
my $socket = IO::Socket::IP->new(Proto => $proto, @where, Timeout => $seconds) or exit 1;
print $socket 'hello';
my $answer = '';
while (IO::Select->new($socket)->can_read($seconds)) {
    last if !sysread $socket, my $part, 1500;
    $answer .= $part;
    last if $proto eq 'udp';
}
print $answer;
exit($answer eq '');

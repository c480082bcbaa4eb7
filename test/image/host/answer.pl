# answer.pl NAME PROTOCOL:PORT...
# Tells its name and who asks, over TCP to whoever connects and over UDP to each packet, by IPv4 and IPv6.
use strict;
use warnings;
use IO::Socket::IP;
use Socket qw(AI_NUMERICHOST);

$SIG{CHLD} = 'IGNORE';
my $name = shift;

sub answer {
    my $peer = shift;
    $peer =~ s/^::ffff://;
    return "$name $peer\n";
}

while (my $place = shift) {
    my ($proto, $port) = split /:/, $place;
    next if @ARGV && fork;
    # Without flags of ours it would take :: for nothing where no interface has an IPv6 address.
    my @where = (LocalHost => '::', LocalPort => $port, V6Only => 0, GetAddrInfoFlags => AI_NUMERICHOST);
    my @listen = $proto eq 'tcp' ? (Listen => 50, ReuseAddr => 1) : ();
    my $socket = IO::Socket::IP->new(Proto => $proto, @where, @listen)
        or die "$proto $port: $@\n";
    if ($proto eq 'udp') {
        while (1) {
            $socket->recv(my $asked, 1500);
            $socket->send(answer($socket->peerhost));
        }
    }
    while (my $peer = $socket->accept) {
        # What is not read makes the end a reset, which may overtake the answer.
        sysread $peer, my $asked, 1500;
        print $peer answer($peer->peerhost);
        close $peer;
    }
}

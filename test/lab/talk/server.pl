# Says hello to whoever connects to port 80. Perl, because a slim Debian has nothing else that can listen.
use strict;
use warnings;
use IO::Socket::INET;

my $socket = IO::Socket::INET->new(LocalPort => 80, Listen => 5, ReuseAddr => 1) or die "listen: $!\n";
while (my $peer = $socket->accept) {
    print $peer "hello\n";
    close $peer;
}

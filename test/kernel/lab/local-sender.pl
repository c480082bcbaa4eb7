# Runs among a sidecar's processes: sends by every kind of socket that a process may have, to whoever is asked for, with a
# TTL that nobody else uses, until it is ended. Then it says how many tries of each kind there were.
# Arguments: DEVICE ADDRESS (of the uplink) KINDS (with commas) DESTINATION:PORT ...
use strict;
use warnings;
use Errno qw(EINPROGRESS);
use IO::Handle;
use Socket qw(:all);

my ($device, $own, $kinds, @destinations) = @ARGV;
my $ttl = 77;
my ($SO_BINDTODEVICE, $IP_HDRINCL, $AF_PACKET, $ETH_P_IP) = (25, 3, 17, 0x0800);
my %tries;

sub prepare {
    my ($socket, $binding) = @_;
    setsockopt($socket, IPPROTO_IP, IP_TTL, pack('i', $ttl));
    setsockopt($socket, SOL_SOCKET, $SO_BINDTODEVICE, "$device\0") if $binding =~ /device|both/;
    bind($socket, sockaddr_in(0, inet_aton($own))) if $binding =~ /address|both/;
    $socket->blocking(0);
    return $socket;
}

sub udp {
    my ($binding, $address, $port) = @_;
    socket(my $socket, AF_INET, SOCK_DGRAM, IPPROTO_UDP) or return;
    send(prepare($socket, $binding), "\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04leak\x04test\0\0\x01\0\x01", 0, sockaddr_in($port, inet_aton($address)));
}

my @opened;
sub tcp {
    my ($binding, $address, $port) = @_;
    socket(my $socket, AF_INET, SOCK_STREAM, IPPROTO_TCP) or return;
    connect(prepare($socket, $binding), sockaddr_in($port, inet_aton($address)));
    push @opened, $socket;
    shift @opened if @opened > 64;
}

my $sequence = 0;
sub echo { return pack('CCnnn', 8, 0, 0xf7ff - $sequence, 0, $sequence++ % 0x4000) }

# Without a capability, where net.ipv4.ping_group_range has the process's group.
sub ping {
    my ($binding, $address) = @_;
    socket(my $socket, AF_INET, SOCK_DGRAM, IPPROTO_ICMP) or return;
    send(prepare($socket, $binding), echo(), 0, sockaddr_in(0, inet_aton($address)));
}

sub ipPacket {
    my ($source, $address, $port) = @_;
    my $datagram = pack('nnnn', 40000, $port, 12, 0) . 'leak';
    my $header = pack('CCnnnCCna4a4', 0x45, 0, 20 + length $datagram, 7, 0, $ttl, 17, 0, inet_aton($source), inet_aton($address));
    my $sum = 0;
    $sum += $_ for unpack('n*', $header);
    $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    substr($header, 10, 2) = pack('n', ~$sum & 0xffff);
    return $header . $datagram;
}

# Takes NET_RAW. With a header of its own, whose source is the uplink's or the server's.
sub raw {
    my ($binding, $address, $port) = @_;
    socket(my $socket, AF_INET, SOCK_RAW, IPPROTO_RAW) or return;
    setsockopt($socket, IPPROTO_IP, $IP_HDRINCL, pack('i', 1));
    send(prepare($socket, $binding), ipPacket($own, $address, $port), 0, sockaddr_in(0, inet_aton($address)));
}

sub frame {
    my (undef, $address, $port) = @_;
    socket(my $socket, $AF_PACKET, SOCK_DGRAM, 0) or return;
    open(my $file, '<', "/sys/class/net/$device/ifindex") or return;
    my $index = <$file>;
    my $to = pack('SniSCCH16', $AF_PACKET, $ETH_P_IP, $index, 0, 0, 6, 'ffffffffffff0000');
    send($socket, ipPacket($own, $address, $port), 0, $to);
}

sub udp6 {
    my (undef, undef, $port) = @_;
    socket(my $socket, AF_INET6, SOCK_DGRAM, IPPROTO_UDP) or return;
    setsockopt($socket, IPPROTO_IPV6, 16, pack('i', $ttl));
    send($socket, 'leak', 0, pack_sockaddr_in6($port, inet_pton(AF_INET6, '2001:db8:80::80')));
}

sub multicast {
    my (undef, undef, $port) = @_;
    socket(my $socket, AF_INET, SOCK_DGRAM, IPPROTO_UDP) or return;
    setsockopt($socket, IPPROTO_IP, IP_MULTICAST_IF, inet_aton($own));
    setsockopt($socket, IPPROTO_IP, IP_MULTICAST_TTL, pack('C', $ttl));
    setsockopt($socket, SOL_SOCKET, SO_BROADCAST, pack('i', 1));
    send(prepare($socket, 'address'), 'leak', 0, sockaddr_in($port, inet_aton($_))) for '224.0.0.251', '239.1.2.3', '255.255.255.255';
    socket(my $socket6, AF_INET6, SOCK_DGRAM, IPPROTO_UDP) or return;
    open(my $file, '<', "/sys/class/net/$device/ifindex") or return;
    send($socket6, 'leak', 0, pack_sockaddr_in6($port, inet_pton(AF_INET6, 'ff02::1'), 0 + <$file>));
}

my %senders = (udp => \&udp, tcp => \&tcp, ping => \&ping, raw => \&raw, frame => \&frame, udp6 => \&udp6, multicast => \&multicast);
my $ends = 0;
$SIG{TERM} = sub { $ends = 1 };
STDOUT->autoflush(1);
print "sending\n";
until ($ends) {
    for my $kind (split /,/, $kinds) {
        my ($name, $binding) = split /-/, $kind;
        for my $destination (@destinations) {
            $tries{$kind}++;
            $senders{$name}->($binding // 'nothing', split /:/, $destination);
        }
    }
    select(undef, undef, undef, 0.02);
}
print "$_ $tries{$_}\n" for sort keys %tries;

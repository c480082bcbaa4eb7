/** What docker_iptables' README has the machine's tables begin with. */
export const seedBase = `*nat
:DOCKER_CONTAINERS - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER_CONTAINERS
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER_CONTAINERS
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
COMMIT
*filter
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
COMMIT
`;

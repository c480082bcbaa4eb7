import type { Port } from '../net/address.ts';

/** Where the router's own resolver listens on the gateway addresses: above those that take a capability. */
export const resolverPort = 5300 as Port;

/** The name that it answers with the gateway address (`internal` is reserved for private use, ICANN 2024-07-29). */
export const routerName = 'underbridge.internal';

/** A name that is asked anew each time, to see whether names resolve. It says nothing of clients. */
export const canaryName = 'a.root-servers.net';

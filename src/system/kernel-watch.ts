import { tableIds } from '../plan/lockdown.ts';
import {
  findAttribute,
  type NetlinkMessage,
  netlinkNetfilter,
  netlinkRoute,
  openNetlink,
  parseMessages,
} from './netlink.ts';

/** What somebody, or we ourselves, changed of what is ours: tables of the firewall; or rules, routes, addresses, links. */
export type KernelPart = 'firewall' | 'network';

/** Listens to what the kernel tells of changes. Never waits: the kernel keeps the events until somebody asks. */
export interface KernelWatch {
  /** Whether a part was changed since it was last forgotten. */
  readonly hasChanged: (part: KernelPart) => boolean;
  /** The program that changed our tables, as the kernel names it. */
  readonly firewallChanger: () => string | undefined;
  /** Forgets what happened until now. To be called just before a look that will see it: what comes later stays. */
  readonly forget: (part: KernelPart) => void;
  /** Calls back once, when the kernel tells something from now on. What it told before that is to be asked for. */
  readonly wake: (onEvent: () => void) => void;
  readonly close: () => void;
}

/** @param tables names of the nf_tables tables that concern us @throws UnderbridgeError UB_KERNEL */
export function watchKernel(tables: ReadonlySet<string>): KernelWatch {
  let program: string | undefined;
  let isOurTransaction = false;
  const firewall = watchPart({
    protocol: netlinkNetfilter,
    groups: [nftablesGroup],
    concernsUs: (message) => {
      if (message.type === newGeneration) {
        if (isOurTransaction) program = textOf(findAttribute(message, { after: nfgenmsgBytes, type: programName }));
        isOurTransaction = false;
        return false;
      }
      const isOurs = tables.has(textOf(findAttribute(message, { after: nfgenmsgBytes, type: tableName })) ?? '');
      isOurTransaction ||= isOurs;
      return isOurs;
    },
  });
  const network = watchPart({ protocol: netlinkRoute, groups: routeGroups, concernsUs: isOurRouting });
  const parts = { firewall, network };
  let onEvent: (() => void) | undefined;
  const signal = (isWanted: boolean) => {
    firewall.signal(isWanted);
    network.signal(isWanted);
  };
  // A flood is one signal.
  const onSignal = () => {
    signal(false);
    onEvent?.();
  };
  return {
    hasChanged: (part) => parts[part].hasChanged(),
    firewallChanger: () => program,
    forget: (part) => {
      parts[part].forget();
      if (part === 'firewall') program = undefined;
    },
    wake: (then) => {
      if (onEvent === undefined) process.on('SIGURG', onSignal);
      onEvent = then;
      signal(true);
    },
    close: () => {
      firewall.close();
      network.close();
      process.off('SIGURG', onSignal);
    },
  };
}

// Numbers from Linux include/uapi/linux: netfilter/nfnetlink.h, netfilter/nf_tables.h. The table's name is the first
// attribute of every message about tables, chains, rules, sets and elements. Each transaction ends with a NEWGEN, which
// says who made it.
const nftablesGroup = 7;
const nfgenmsgBytes = 4;
const tableName = 1;
const newGeneration = (10 << 8) | 15;
const programName = 3;

// Numbers from Linux include/uapi/linux/rtnetlink.h. Routes are not told when their device goes down or away, and are
// not asked for by address: so every change of a link or an address counts.
const routeGroups = Object.values({
  link: 1,
  ipv4Address: 5,
  ipv4Route: 7,
  ipv4Rule: 8,
  ipv6Address: 9,
  ipv6Route: 11,
  ipv6Rule: 19,
  ipv4Netconf: 24,
});
const routeTypes: ReadonlySet<number> = new Set([24, 25]);
const rtmsgBytes = 12;
const routeTable = 15;
const ourRouteTables: ReadonlySet<number> = new Set(Object.values(tableIds));
const mainTable = 254;

const addressTypes: ReadonlySet<number> = new Set([20, 21]);
const afInet6 = 10;
const linkScope = 253;

function isOurRouting(message: NetlinkMessage): boolean {
  // struct ifaddrmsg: family, prefix length, flags, scope. Each link has such an address, and it comes by itself.
  const [family, , , scope] = message.payload;
  if (addressTypes.has(message.type) && family === afInet6 && scope === linkScope) return false;
  if (!routeTypes.has(message.type)) return true;
  const table = findAttribute(message, { after: rtmsgBytes, type: routeTable });
  if (table === undefined) return true;
  const id = table.readUInt32LE();
  // The uplink's gateway is that of the default route, whose destination (rtm_dst_len) has no bits.
  return ourRouteTables.has(id) || (id === mainTable && message.payload[1] === 0);
}

/** With overhead about a thousand bytes an event: a thousand foreign changes a second fit between two looks. */
const queueBytes = 1024 * 1024;

/** Datagrams at one look, so that a flood cannot hold the process: more than the queue holds. */
const mostDatagrams = 4_000;

function watchPart({
  protocol,
  groups,
  concernsUs,
}: {
  readonly protocol: number;
  readonly groups: readonly number[];
  readonly concernsUs: (message: NetlinkMessage) => boolean;
}) {
  const socket = openNetlink({ protocol, groups, queueBytes });
  let isChanged = false;
  const listen = () => {
    for (let count = 0; count < mostDatagrams; count += 1) {
      const received = socket.receive();
      if (received === 'nothing') return;
      // What the kernel could not tell may have been about us.
      if (received === 'overrun') isChanged = true;
      else for (const message of parseMessages(received)) isChanged = concernsUs(message) || isChanged;
    }
    isChanged = true;
  };
  return {
    hasChanged: () => {
      listen();
      return isChanged;
    },
    forget: () => {
      listen();
      isChanged = false;
    },
    signal: socket.signal,
    close: socket.close,
  };
}

function textOf(value: Buffer | undefined): string | undefined {
  return value?.toString('utf8').replace(/\0.*$/s, '');
}

/** Every code that an operator can meet. Stable: scripts and issues quote them. */
export type ErrorCode =
  | 'UB_CONFIG'
  | 'UB_ADDRESS_TAKEN'
  | 'UB_KERNEL'
  | 'UB_APPLY'
  | 'UB_EXEC'
  | 'UB_DOCKER'
  | 'UB_INTERNAL';

/**
 * An error that an operator can act on.
 *
 * `message` is one line that names the offending value; `hint` says what to do. Neither ever holds a secret.
 */
export class UnderbridgeError extends Error {
  readonly code: ErrorCode;
  readonly hint: string;

  constructor({ code, message, hint, cause }: { code: ErrorCode; message: string; hint: string; cause?: unknown }) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'UnderbridgeError';
    this.code = code;
    this.hint = hint;
  }
}

/** One thing that is wrong with what the user gave. Faults are collected and reported together. */
export interface Fault {
  /** What holds the fault: a setting's name, or `profile.ovpn:12`. */
  readonly name: string;
  /** The offending text as given; absent where nothing was given, or where it is a secret. */
  readonly value?: string;
  /** What is wrong, one clause, no full stop. */
  readonly problem: string;
  /** What to do, one imperative clause, no full stop. */
  readonly hint: string;
}

/** A value, or every fault found on the way to it. */
export type Parsed<T> =
  | { readonly kind: 'ok'; readonly value: T }
  | { readonly kind: 'faults'; readonly faults: readonly Fault[] };

/** Wraps a value that was parsed without a fault. */
export function ok<T>(value: T): Parsed<T> {
  return { kind: 'ok', value };
}

/** Wraps one or more faults. */
export function faulty(...faults: readonly Fault[]): Parsed<never> {
  return { kind: 'faults', faults };
}

/** Makes the compiler prove that a switch handles every case. */
export function assertNever(value: never): never {
  throw new UnderbridgeError({
    code: 'UB_INTERNAL',
    message: `unhandled case: ${JSON.stringify(value)}`,
    hint: 'this is a bug in Underbridge, please report it',
  });
}

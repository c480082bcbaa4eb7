/** Every code that a caller can meet. Stable. */
export type ManagementErrorCode =
  /** The peer sent something that no OpenVPN sends. The connection is closed. */
  | 'MGMT_PROTOCOL'
  /** A value that cannot be sent as it is, or that a prompt wants and that is missing. Nothing was sent. */
  | 'MGMT_PARAMETER'
  /** OpenVPN answered `ERROR: …`, and `reply` holds its text; or it did not take the management password. */
  | 'MGMT_REJECTED'
  /** No reply in time. The connection stays open, and a late reply is dropped. */
  | 'MGMT_TIMEOUT'
  /** The connection is gone. */
  | 'MGMT_CLOSED';

/** What went wrong, without any value that the caller passed in: `message`, `command` and `reply` never hold a secret. */
export class ManagementError extends Error {
  readonly code: ManagementErrorCode;
  /** The first word of the command, where one is concerned. */
  readonly command: string | undefined;
  /** OpenVPN's text after `ERROR: `, with `MGMT_REJECTED` only. */
  readonly reply: string | undefined;

  constructor({
    code,
    message,
    command,
    reply,
    cause,
  }: {
    code: ManagementErrorCode;
    message: string;
    command?: string | undefined;
    reply?: string | undefined;
    cause?: unknown;
  }) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'ManagementError';
    this.code = code;
    this.command = command;
    this.reply = reply;
  }
}

/** The peer sent something that no OpenVPN sends; the parser that threw it cannot be used again. */
export class ProtocolError extends ManagementError {
  constructor(message: string) {
    super({ code: 'MGMT_PROTOCOL', message });
    this.name = 'ProtocolError';
  }
}

// biome-ignore-all lint/performance/noBarrelFile: the one public entry of the package; everything else is private.
export {
  type CloseReason,
  createManagementClient,
  type HistoryOptions,
  type ManagementClient,
  type ManagementClientOptions,
  type ManagementSignal,
  type ProxyChoice,
  type VersionReport,
} from './client.ts';
export type { Command, CommandResult } from './command-queue.ts';
export { type Credentials, renderCredentials } from './credentials.ts';
export { ManagementError, type ManagementErrorCode, ProtocolError } from './errors.ts';
export type { LogEvent } from './log.ts';
export type {
  BytecountEvent,
  EchoEvent,
  FatalEvent,
  HoldEvent,
  InfoEvent,
  InfomsgEvent,
  ManagementEvent,
  NeedCertificateEvent,
  NeedOkEvent,
  NeedStrEvent,
  NotifyEvent,
  PkSignEvent,
  ProxyEvent,
  RemoteEvent,
  RsaSignEvent,
  UnknownEvent,
  UpdownEvent,
} from './notification.ts';
export type {
  AuthTokenEvent,
  DynamicChallenge,
  PasswordNeedEvent,
  StaticChallenge,
  VerificationFailedEvent,
} from './password.ts';
export {
  createManagementParser,
  type ManagementMessage,
  type ManagementParser,
  type PasswordPrompt,
  type ReplyLine,
} from './protocol.ts';
export { createPushReplyCollector, type PushReply, type PushReplyCollector, parsePushReply } from './push-reply.ts';
export { renderCommand } from './quote.ts';
export type { ReplyShape } from './reply.ts';
export type { StateEvent, StateName } from './state.ts';
export {
  parseTotp,
  parseTotpSecret,
  renderTotp,
  type TotpOptions,
  type TotpRecipe,
  type TotpSecret,
} from './totp.ts';

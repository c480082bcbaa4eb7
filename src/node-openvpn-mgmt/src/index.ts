// biome-ignore-all lint/performance/noBarrelFile: the one public entry of the package; everything else is private.
export {
  type CloseReason,
  createManagementClient,
  type HistoryOptions,
  type ManagementClient,
  type ManagementClientOptions,
  type ManagementSignal,
  type VersionReport,
} from './client.ts';
export { ManagementError, type ManagementErrorCode, ProtocolError } from './errors.ts';
export { type LogEvent, parseLog } from './log.ts';
export type * from './notification.ts';
export {
  type AuthTokenEvent,
  answerDynamicChallenge,
  answerStaticChallenge,
  type DynamicChallenge,
  type PasswordNeedEvent,
  type StaticChallenge,
  type VerificationFailedEvent,
} from './password.ts';
export { createManagementParser, type ManagementMessage, type ManagementParser, type ReplyLine } from './protocol.ts';
export { createPushReplyCollector, type PushReply, type PushReplyCollector, parsePushReply } from './push-reply.ts';
export { maxCommandBytes, maxParameterBytes, renderCommand } from './quote.ts';
export { parseState, type StateEvent, type StateName } from './state.ts';

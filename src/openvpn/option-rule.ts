/**
 * Whether an option belongs to the whole profile or to one remote.
 *
 * `remote` options are those that OpenVPN takes inside `<connection>` (OPT_P_CONNECTION in its source).
 */
export type OptionScope = 'profile' | 'remote';

/** What the router does with an option. Each option is in exactly one class. */
export type OptionRule =
  /** Goes to OpenVPN as it is. */
  | {
      readonly kind: 'pass';
      readonly scope: OptionScope;
      /** How many parameters it may have. */
      readonly least: number;
      readonly most: number;
      /** What the first parameter may be; absent: anything. */
      readonly values?: readonly string[];
      /** Its body may stand between tags. */
      readonly block?: true;
    }
  /** Goes to OpenVPN with its file embedded. */
  | {
      readonly kind: 'material';
      readonly scope: OptionScope;
      /** How OpenVPN wants the body: text as it is, or binary as base64. */
      readonly encoding: 'text' | 'base64';
      /** What may follow the file name. */
      readonly after: 'nothing' | 'direction';
    }
  /** Read here, and said to OpenVPN in another form or not at all. */
  | { readonly kind: 'read'; readonly scope: OptionScope; readonly least: number; readonly most: number }
  /** The router's own business, or without meaning on this system. */
  | { readonly kind: 'drop'; readonly reason: string }
  /** Would run code, reach for files, or make this no client. */
  | { readonly kind: 'refuse'; readonly problem: string; readonly hint: string };

/** What openclaw said, whichever of its shapes it used. */

export type Usage = { input: number; output: number; total: number };

export type Said = {
  /**
   * - `exec`: the envelope of `agent exec`. `gateway`: a turn that a Gateway ran. `embedded`: one that ran in openclaw's
   *   own process. `refusal`: the command line's own error.
   */
  shape: 'exec' | 'gateway' | 'embedded' | 'refusal';
  /** `ok`, `error`, `timeout`, `in_flight`, or whatever a later version says; empty where the shape has none. */
  status: string;
  /** Something in it says that the turn failed, whatever the status is. */
  failed: boolean;
  message: string;
  text: string;
  /** The model came to the end of what it may say. */
  cutOff: boolean;
  media: string[];
  usage: Usage | undefined;
  usd: number | undefined;
  model: string | undefined;
  provider: string | undefined;
  sessionId: string | undefined;
  runId: string | undefined;
  /** How often it called a tool; undefined when it does not say. */
  toolCalls: number | undefined;
  tools: string[];
  delivery: { status: string; reason: string } | undefined;
  /** What in it says that the turn may have run twice; undefined when nothing does. */
  fallback: string | undefined;
};

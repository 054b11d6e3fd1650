/**
 * The executor contract: what carries out a kind of step, and what the worker hands to it. An executor runs at
 * least once per step; effects outside the database are made once by passing `idempotencyKey` on. When `signal`
 * aborts it throws soon; a return value after that is taken as a result only at shutdown and halt.
 */
import type { Logger } from 'pino';
import { z } from 'zod';
import { OpsError, type OpsErrorOptions } from '../../supabase/client/errors.js';
import type { OpsPort } from '../../supabase/client/port.js';
import {
  ExecutorRegistration,
  type StepEvent as StepEventSchema,
} from '../../supabase/client/schemas/inputs.js';
import type { FailureOutcome, RiskLevel } from '../../supabase/client/terms.js';
import type { Json } from './json.js';

/** How many run at once in one worker process when an executor starts processes or calls models. */
export const processLocalLimit = 4;

export type Traits = {
  /** May it be tried again after a crash or a timeout, when nobody knows how far it came? */
  idempotent: boolean;
  risk: RiskLevel;
  /** How many run at once in one worker process; null or left out is the worker's own concurrency. */
  localLimit?: number | null;
  /** What has to be there for it to work: programs, variables. For `doctor` and for people. */
  needs?: string[];
  /** For the rule of two: is it given secrets, does it act or talk outside of the database? */
  touches?: ('secrets' | 'outside')[];
  /** A parameter (a dotted path): one step at a time per value of it, over all workers. Default none. */
  exclusive?: string;
  /** Parameters for the operator's own words: no placeholder may stand in them, so no event ever fills one. */
  fixed?: string[];
};

/** Money, tokens and whatever else was used. Numbers reported twice are added up, texts replaced. */
export type Cost = { usd?: number; tokens?: number; [measure: string]: number | string | undefined };
export type Policies = { worker_policy: Record<string, Json>; agent_roles: Record<string, Json> };
/** Names the attempt that asks; the engine answers only while its lease is live. */
export type StepLease = { stepId: string; leaseEpoch: number };
/** The calls into the engine that an executor may make. */
export type ExecutorDatabase = Pick<
  OpsPort,
  'radarAdd' | 'radarMove' | 'radarWeigh' | 'radarList' | 'radarTop' | 'radarGet'
> & {
  /** Casts the vote that the step's row says, as the role in it. */
  voteAsStep(lease: StepLease): ReturnType<OpsPort['voteAsStep']>;
  /** Makes links for the proposal that the step's row names. */
  makeLinksAsStep(lease: StepLease): ReturnType<OpsPort['makeLinksAsStep']>;
};

export type StepContext<P = unknown> = {
  readonly params: P;
  /** Aborts on timeout, cancel, halt, shutdown and a lost lease; `signal.reason` is an `OpsError` that says which. */
  readonly signal: AbortSignal;
  readonly stepId: string;
  readonly missionId: string;
  readonly key: string;
  readonly kind: string;
  /** The same over all attempts of a step: the step's id. */
  readonly idempotencyKey: string;
  /** 1 for the first try of this series. */
  readonly attempt: number;
  /** The fence of this attempt, for calls that name the step they are made for. */
  readonly leaseEpoch: number;
  readonly role: string | null;
  /**
   * W3C trace context of this attempt, for calls that it makes. Undefined when neither the sender of the event gave one
   * nor this worker exports traces.
   */
  readonly traceparent?: string | undefined;
  readonly log: Logger;
  /** Says how far it is, 0 to 1. */
  progress(fraction: number, note?: string): void;
  cost(used: Cost): void;
  /** A secret by the name of its variable. What was read here is cut out of results, events and errors. */
  secret(name: string): string | undefined;
  /** A variable that is no secret, by its name: an address, a limit. It stays in results as it is. */
  setting(name: string): string | undefined;
  /** The directory that work with files is confined to. */
  readonly workspace: string;
  readonly config: Policies;
  /** Raises an event together with the step's success; a failed attempt raises none. */
  emit(event: StepEvent): void;
  readonly db: ExecutorDatabase;
};

/** One thing that `ops-loop doctor` found. */
export type Finding = { name: string; ok: boolean; message: string; hint?: string };
export type DoctorContext = Pick<StepContext, 'secret' | 'setting' | 'workspace' | 'config'>;

export type StepEvent = z.input<typeof StepEventSchema>;

export type Executor<P extends z.ZodType = z.ZodType> = {
  readonly name: string;
  readonly params: P;
  /** Checks what `run` answers. Without one any JSON will do, and nothing is null. */
  readonly result?: z.ZodType;
  readonly traits: Traits;
  run(ctx: StepContext<z.output<P>>): unknown;
  doctor?(ctx: DoctorContext): Promise<Finding[]>;
};

export type StepErrorOptions = OpsErrorOptions & {
  /** Default `retryable`. */
  outcome?: Extract<FailureOutcome, 'retryable' | 'permanent' | 'rate_limited' | 'unknown'>;
  /** Seconds to wait before the next try, when the other side said so. */
  retryAfterSeconds?: number | undefined;
  /** Groups like errors; default `OPS_007`. */
  errorClass?: string;
};

/** A failure that says what it means for the step. Any other throw is taken as retryable. */
export class StepError extends OpsError {
  readonly outcome: NonNullable<StepErrorOptions['outcome']>;
  readonly retryAfterSeconds: number | undefined;
  readonly errorClass: string;

  constructor(message: string, options: StepErrorOptions = {}) {
    super('OPS_007', message, options);
    this.name = 'StepError';
    this.outcome = options.outcome ?? 'retryable';
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.errorClass = options.errorClass ?? this.code;
  }
}

/** Declares an executor. Throws `OPS_016` when name, traits or schemas would be refused later. */
export function defineExecutor<P extends z.ZodType>(executor: Executor<P>): Executor {
  toRegistration(executor);
  return Object.freeze({ ...executor }) as Executor;
}

/** What the engine is told: the parameters as JSON Schema (draft 2020-12, as they are written) and the traits. */
export function toRegistration(executor: Executor): ExecutorRegistration {
  const { name, params, result, traits } = executor;
  try {
    return ExecutorRegistration.parse({
      name,
      params_schema: jsonSchema(params, 'input'),
      result_schema: result === undefined ? null : jsonSchema(result, 'output'),
      traits: {
        idempotent: traits.idempotent,
        risk: traits.risk,
        local_limit: traits.localLimit ?? null,
        needs: traits.needs ?? [],
        touches: traits.touches ?? [],
        exclusive: traits.exclusive ?? null,
        fixed: traits.fixed ?? [],
      },
    });
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause);
    throw new OpsError('OPS_016', `the executor ${String(name)} is not valid: ${why}`, {
      hint: 'Correct what defineExecutor was given: name, traits, and schemas that have a JSON Schema.',
      cause,
    });
  }
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): Record<string, Json> {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, target: 'draft-2020-12' });
  // The standard-schema hook that zod hangs on the object is a function, so it goes the way of JSON.stringify.
  return JSON.parse(JSON.stringify(rest)) as Record<string, Json>;
}

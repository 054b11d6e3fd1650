/** What callers hand to the engine, all subjects under one path. Members are named as the engine's JSON names them. */
export { DeadLetterFilter } from '../calls/dead-letters.js';
export { EventInput, eventType, SentEvent } from '../calls/events.js';
export { LlmReport } from '../calls/llm.js';
export { RadarInput } from '../calls/radar.js';
export { ClaimMarks, LeaseRef, StepEvent, StepFailure, StepResult } from '../calls/steps.js';
export { ExecutorRegistration } from '../calls/workers.js';

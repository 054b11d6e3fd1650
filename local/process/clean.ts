/** Makes text out of what a program wrote: no terminal control, no secrets, nothing the database cannot store. */
import { stripVTControlCharacters } from 'node:util';
import { storable } from '../executors/json.js';
import { redactor } from '../worker/redact.js';
import type { Kept } from './keep.js';

/** C0 without tab, line feed and carriage return; DEL; C1. What is left of them when the sequences are gone. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about
const controls = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g;
/** Of a secret that the cut between beginning and end went through, this much is recognised. */
const leastPart = 4;

export type Cleaner = {
  line(text: string): string;
  output(kept: Kept): string;
};

export function createCleaner(secrets: Iterable<string>): Cleaner {
  const forms = [...secrets].flatMap(formsOf);
  const redact = redactor(forms);
  const line = (text: string) => String(redact(storable(plain(text))));
  const output = ({ head, tail, bytes }: Kept) => {
    if (head.length === bytes) return line(head.toString('utf8'));
    // First the whole ones: a secret may end as it begins.
    const before = withoutPart(line(wholeEnd(head)), forms, 'start');
    const after = withoutPart(line(wholeStart(tail)), forms, 'end');
    return `${before}\n[… ${bytes - head.length - tail.length} bytes left out …]\n${after}`;
  };
  return { line, output };
}

const plain = (text: string): string => stripVTControlCharacters(text).replace(controls, '');

/** As itself, and as programs show it: in an address, in JSON, as hex, in base64 at any of its three offsets. */
export function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const base64 = [0, 1, 2].map((offset) => base64At(bytes, offset));
  return [
    ...new Set([
      secret,
      encodeURIComponent(secret),
      JSON.stringify(secret).slice(1, -1),
      bytes.toString('hex'),
      ...base64,
      ...base64.map((form) => form.replaceAll('+', '-').replaceAll('/', '_')),
    ]),
  ];
}

/** The characters that do not depend on what stands before and after it (RFC 4648, section 4: 3 bytes are 4). */
function base64At(bytes: Buffer, offset: number): string {
  const form = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64');
  return form.slice(Math.ceil((offset * 4) / 3), Math.floor(((offset + bytes.length) * 4) / 3));
}

/** A character that was cut in two at the end is left out. */
const wholeEnd = (bytes: Buffer): string => new TextDecoder('utf-8').decode(bytes, { stream: true });

/** So are the bytes that continue a character whose first byte is gone: `10xxxxxx` (RFC 3629). */
function wholeStart(bytes: Buffer): string {
  let start = 0;
  while (start < 3 && ((bytes[start] ?? 0) & 0xc0) === 0x80) start++;
  return bytes.toString('utf8', start);
}

/** Cuts the start of a secret off the end of the text, or the end of one off its start. */
function withoutPart(text: string, secrets: string[], part: 'start' | 'end'): string {
  let longest = 0;
  for (const secret of secrets)
    for (let length = Math.min(secret.length - 1, text.length); length >= leastPart; length--) {
      const isThere =
        part === 'start' ? text.endsWith(secret.slice(0, length)) : text.startsWith(secret.slice(-length));
      if (isThere) longest = Math.max(longest, length);
    }
  return part === 'start' ? text.slice(0, text.length - longest) : text.slice(longest);
}

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseConnection } from '../../supabase/client/connection.js';

const sslOf = (url: string) => parseConnection(url).config.ssl;

describe('DATABASE_URL', () => {
  test.each(['localhost', '127.0.0.1', '127.8.8.8', '[::1]'])('goes without TLS to %s', (host) => {
    expect(sslOf(`postgresql://u:p@${host}:5432/d`)).toBe(false);
  });

  test('goes without TLS through a socket, whatever sslmode says', () => {
    expect(sslOf('postgresql:///d?host=/run/postgresql')).toBe(false);
    expect(sslOf('postgresql:///d?host=/run/postgresql&sslmode=require')).toBe(false);
  });

  test('encrypts to any other host, without checking the certificate, as libpq does with require', () => {
    expect(sslOf('postgresql://u:p@db.example.com/d')).toEqual({ rejectUnauthorized: false });
    expect(sslOf('postgresql://u:p@db.example.com/d?sslmode=require')).toEqual({ rejectUnauthorized: false });
  });

  test('obeys sslmode', () => {
    expect(sslOf('postgresql://u:p@db.example.com/d?sslmode=disable')).toBe(false);
    expect(sslOf('postgresql://u:p@localhost/d?sslmode=require')).toEqual({ rejectUnauthorized: false });
    expect(sslOf('postgresql://u:p@db.example.com/d?sslmode=verify-full')).toEqual({
      rejectUnauthorized: true,
    });
    const checked = sslOf('postgresql://u:p@db.example.com/d?sslmode=verify-ca');
    expect(checked).toMatchObject({ rejectUnauthorized: true, checkServerIdentity: expect.any(Function) });
  });

  test('hands the driver a URL without TLS members, so that they are read once only', () => {
    const { config } = parseConnection('postgresql://u:p@db.example.com/d?sslmode=disable&connect_timeout=3');
    expect(config.connectionString).toBe('postgresql://u:p@db.example.com/d?connect_timeout=3');
  });

  test('knows a transaction-mode pooler, where LISTEN hears nothing', () => {
    const isDirect = (url: string) => parseConnection(url).direct;
    expect(isDirect('postgresql://u:p@db.example.com/d')).toBe(true);
    expect(isDirect('postgresql://u:p@pooler.example.com:6543/d')).toBe(false);
    expect(isDirect('postgresql://u:p@db.example.com/d?pgbouncer=true')).toBe(false);
  });

  test('checks the certificate against the root that sslrootcert names, also with require', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'ops-loop-root-')), 'root.pem');
    writeFileSync(file, 'a root');
    const ssl = sslOf(`postgresql://u:p@db.example.com/d?sslmode=require&sslrootcert=${file}`);
    rmSync(dirname(file), { recursive: true });
    expect(ssl).toMatchObject({ rejectUnauthorized: true, ca: 'a root' });
  });

  test('refuses an unknown sslmode and an unreadable file with OPS_016', () => {
    const refuses = (query: string) => () => parseConnection(`postgresql://u:p@db.example.com/d?${query}`);
    expect(refuses('sslmode=maybe')).toThrow(expect.objectContaining({ code: 'OPS_016' }));
    expect(refuses('sslrootcert=/no/such.pem')).toThrow(expect.objectContaining({ code: 'OPS_016' }));
  });

  test('is named for people without its password', () => {
    const { label } = parseConnection('postgresql://anna:s3cret@db.example.com:6432/ops');
    expect(label).toBe('ops on db.example.com:6432 as anna with TLS');
    expect(() => parseConnection('postgresql://anna:s3cret@:x/y')).toThrow(/^((?!s3cret).)*$/);
  });
});

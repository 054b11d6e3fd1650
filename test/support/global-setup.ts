/**
 * One PostgreSQL for the whole run: a throw-away embedded cluster, or the server in OPS_TEST_DATABASE_URL (a role
 * that may create databases and roles). The schema is built once, as a template that test files clone.
 */
import type { TestProject } from 'vitest/node';
import { startTestCluster } from './cluster.js';
import { buildTemplate, dropTemplate } from './template.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** Connection of an administrator to the server of this run. */
    adminUrl: string;
    /** Name of the template database; empty when it could not be built. */
    template: string;
    /** Why there is no template. Tests without a database still run; those with one fail with this text. */
    templateError: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env.OPS_TEST_DATABASE_URL;
  const cluster = given === undefined ? await startTestCluster() : { url: given, stop: async () => {} };
  const template = await buildTemplate(cluster.url);
  project.provide('adminUrl', cluster.url);
  project.provide('template', template.name);
  project.provide('templateError', template.error);
  return async () => {
    await dropTemplate(cluster.url, template.name);
    await cluster.stop();
  };
}

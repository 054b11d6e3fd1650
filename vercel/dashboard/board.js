/** The figures and lists of the page, drawn from one overview. What a button does is given by page.js. */
import * as draw from './draw.js';

const { byId, make } = draw;
/** `explain(id)` and `askVerdict(word, proposal, title)`. */
let act;

export function showBoard(overview, actions) {
  act = actions;
  showLoop(overview);
  showFlow(overview.status);
  showProposals(overview);
  showDeadLetters(overview);
  showRadar(overview);
  showAround(overview.status);
}

function showLoop({ at, health }) {
  const beatAge =
    health.last_beat_at === null ? null : (Date.parse(at) - Date.parse(health.last_beat_at)) / 1000;
  const status = byId('loop-status');
  status.textContent = draw.words(health.status);
  status.className = `pill tone-${draw.toneOf(health.status)}`;
  document.title = health.status === 'healthy' ? 'Ops-Loop' : `${health.status}: Ops-Loop`;
  const figures = [
    { name: 'Last beat', text: beatAge === null ? 'never' : `${draw.span(beatAge)} ago` },
    { name: 'Open events', text: draw.number(health.open_events) },
    {
      name: 'Oldest open',
      text: health.open_events > 0 ? draw.span(health.oldest_open_event_seconds) : 'none',
    },
    {
      name: 'Proposals waiting',
      text: draw.number(health.pending_proposals),
      tone: health.pending_proposals > 0 ? 'wait' : undefined,
    },
    { name: 'Steps queued', text: draw.number(health.queued_steps) },
    {
      name: 'Steps running',
      text: draw.number(health.running_steps),
      tone: health.running_steps > 0 ? 'busy' : undefined,
    },
    {
      name: 'Expired leases',
      text: draw.number(health.expired_leases),
      tone: health.expired_leases > 0 ? 'bad' : undefined,
    },
    {
      name: 'Dead letters',
      text: draw.number(health.open_dead_letters),
      tone: health.open_dead_letters > 0 ? 'bad' : undefined,
    },
    { name: 'Workers', text: draw.number(health.workers), tone: health.workers > 0 ? undefined : 'wait' },
  ];
  draw.drawList(byId('figures'), figures, ({ name }) => name, drawFigure);
  draw.drawList(
    byId('problems'),
    health.problems,
    (text) => text,
    (text) => make('li', {}, text),
  );
}

const drawFigure = ({ name, text, tone }) =>
  make('div', {}, make('dt', {}, name), make('dd', { class: tone && `tone-${tone}` }, text));

function showFlow(status) {
  const stages = ['events', 'reactions', 'proposals', 'missions', 'steps'].map((stage) => ({
    title: stage[0].toUpperCase() + stage.slice(1),
    counts: status[stage],
  }));
  if (Object.keys(status.dry_runs).length > 0)
    stages.push({ title: 'Dry run steps', counts: status.dry_runs });
  draw.drawList(byId('flow'), stages, ({ title }) => title, draw.drawStage);
}

function showProposals({ proposals, health }) {
  byId('proposals-count').textContent = proposals.length > 0 ? draw.number(health.pending_proposals) : '';
  byId('proposals-more').textContent = draw.more(health.pending_proposals - proposals.length);
  byId('proposals-none').hidden = proposals.length > 0;
  draw.drawList(byId('proposals'), proposals, ({ id }) => id, drawProposal);
}

function drawProposal(proposal) {
  const title = proposal.title ?? 'untitled proposal';
  const origin = proposal.pattern_id === null ? proposal.source : `pattern ${proposal.pattern_id}`;
  return make(
    'li',
    {},
    make(
      'div',
      { class: 'top' },
      make('strong', {}, title),
      proposal.risk === null ? '' : draw.pill(proposal.risk),
      proposal.dry_run ? draw.pill('dry run') : '',
    ),
    make(
      'p',
      { class: 'meta' },
      `from ${origin}, `,
      draw.moment(proposal.created_at),
      ...(proposal.expires_at === null ? [] : [', expires ', draw.moment(proposal.expires_at)]),
    ),
    make('p', {}, proposal.reason ?? ''),
    make(
      'div',
      { class: 'actions' },
      verdictButton('Approve', proposal, title, 'primary'),
      verdictButton('Reject', proposal, title, 'danger'),
      whyButton(proposal.id, title),
    ),
  );
}

const verdictButton = (word, proposal, title, look) =>
  make(
    'button',
    {
      type: 'button',
      class: look,
      'aria-label': `${word} ${draw.visible(title)}`,
      onclick: () => act.askVerdict(word, proposal, title),
    },
    word,
  );
const whyButton = (id, title) =>
  make(
    'button',
    { type: 'button', 'aria-label': `Why: ${draw.visible(title)}`, onclick: () => act.explain(id) },
    'Why',
  );

function showDeadLetters({ dead_letters: letters, health }) {
  byId('letters-count').textContent = letters.length > 0 ? draw.number(health.open_dead_letters) : '';
  byId('letters-more').textContent = draw.more(health.open_dead_letters - letters.length);
  byId('letters-none').hidden = letters.length > 0;
  draw.drawList(byId('letters'), letters, ({ id }) => id, drawDeadLetter);
}

function drawDeadLetter(letter) {
  const attempts = `${letter.attempts} ${letter.attempts === 1 ? 'attempt' : 'attempts'}`;
  return make(
    'li',
    {},
    make('div', { class: 'top' }, make('strong', {}, letter.kind), draw.pill(letter.cause)),
    make('p', { class: 'meta' }, `${attempts} on ${letter.executor}, `, draw.moment(letter.created_at)),
    letter.last_error === null ? '' : make('p', { class: 'error' }, letter.last_error),
    make('div', { class: 'actions' }, whyButton(letter.step_id, letter.kind)),
  );
}

/** What is wanted most of all that is open. Read only: signals are moved by rules, the command line or the API. */
function showRadar({ radar, status }) {
  const open = ['watching', 'validating', 'building'].reduce(
    (sum, stage) => sum + (status.radar[stage] ?? 0),
    0,
  );
  byId('radar-count').textContent = open > 0 ? draw.number(open) : '';
  byId('radar-none').hidden = radar.length > 0;
  draw.drawList(byId('radar'), radar, ({ id }) => id, drawSignal);
}

function drawSignal({ title, stage, score, mentions, last_seen_at: heardAt }) {
  const times = `${draw.number(mentions)} ${mentions === 1 ? 'mention' : 'mentions'}`;
  return make(
    'li',
    {},
    make('div', { class: 'top' }, make('strong', {}, title), draw.pill(stage)),
    make(
      'p',
      { class: 'meta' },
      `score ${draw.number(Math.round(score * 10) / 10)}, ${times}, last `,
      draw.moment(heardAt),
    ),
  );
}

function showAround({ waiting, workers, latencies }) {
  const reasons = Object.entries(waiting).map(([reason, n]) => [draw.words(reason), draw.number(n)]);
  draw.drawPairs(byId('waiting'), reasons, byId('waiting-none'));
  byId('workers-none').hidden = workers.length > 0;
  draw.drawList(byId('workers'), workers, ({ name }) => name, drawWorker);
  const measured = Object.entries(latencies).filter(([, l]) => l.samples > 0);
  const half = ([name, l]) => [draw.words(name), `${milliseconds(l.p50_ms)} / ${milliseconds(l.p95_ms)}`];
  draw.drawPairs(
    byId('latencies'),
    measured.length > 0 ? [['', 'p50 / p95'], ...measured.map(half)] : [],
    byId('latencies-none'),
  );
}

const milliseconds = (ms) =>
  ms === null ? '-' : ms < 1_000 ? `${Math.round(ms)} ms` : draw.span(ms / 1_000);

const drawWorker = ({ name, host, running, executors }) =>
  make(
    'li',
    {},
    make(
      'div',
      { class: 'top' },
      make('strong', {}, name),
      make('span', { class: 'pill tone-busy' }, `${running} running`),
    ),
    make('p', { class: 'meta' }, `${host}: ${executors.join(', ')}`),
  );

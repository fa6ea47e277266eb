/** The box to ask: a question, a picture with it or not, and the answer while it is written. */
import { announce } from './announce.mjs';
import { lines, post } from './api.mjs';
import { byId, el, setText } from './dom.mjs';
import { duration } from './format.mjs';

/** @typedef {import('../../types.js').StreamView} StreamView */

const form = byId('ask-form', HTMLFormElement);
const prompt = byId('prompt', HTMLTextAreaElement);
const about = byId('about', HTMLSelectElement);
const fileField = byId('file-field', HTMLElement);
const file = byId('picture', HTMLInputElement);
const send = byId('send', HTMLButtonElement);
const stop = byId('stop', HTMLButtonElement);
const problem = byId('ask-problem', HTMLElement);
const answers = byId('answers', HTMLOListElement);

const maxAnswers = 8;
/** The model looks at 768 pixels at most; more would only be sent. */
const maxSide = 1024;
const cameraPrefix = 'camera:';
/** @type {AbortController | undefined} */
let asking;
/** What the model is asked about a picture when nobody says otherwise. */
let usualQuestion = '';

about.append(el('option', { value: '' }, 'no picture'), el('option', { value: 'file' }, 'a picture of mine'));

/** @param {readonly StreamView[]} streams */
export function offerCameras(streams) {
  const wanted = streams.filter(({ seen }) => seen).map(({ name }) => name);
  const offered = [...about.options].map(({ value }) => value);
  for (const name of wanted) {
    const value = cameraPrefix + name;
    if (!offered.includes(value)) about.append(el('option', { value }, `what ${name} sees`));
  }
}

/** @param {string} question */
export function setUsualQuestion(question) {
  usualQuestion = question;
}

/** @param {string} camera */
export function askAbout(camera) {
  about.value = cameraPrefix + camera;
  about.dispatchEvent(new Event('change'));
  if (prompt.value === '') prompt.value = usualQuestion;
  prompt.focus();
  prompt.select();
}

about.addEventListener('change', () => {
  fileField.hidden = about.value !== 'file';
});
prompt.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
stop.addEventListener('click', () => asking?.abort());
form.addEventListener('submit', (event) => {
  event.preventDefault();
  if (asking === undefined) void ask(prompt.value.trim());
});

/** @param {Blob} blob */
async function dataUrl(blob) {
  return await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener('load', () => resolve(reader.result));
    reader.addEventListener('error', () => reject(new Error('The picture could not be read.')));
    reader.readAsDataURL(blob);
  });
}

/**
 * Made smaller here, since photos of a phone have many more pixels than are looked at.
 * @param {File} picture
 */
async function scaled(picture) {
  const bitmap = await createImageBitmap(picture).catch(() => undefined);
  if (bitmap === undefined) throw new Error('This is not a picture your browser can read.');
  const scale = Math.min(1, maxSide / Math.max(bitmap.width, bitmap.height));
  const canvas = el('canvas');
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext('2d')?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((/** @type {(blob: Blob | null) => void} */ resolve) => {
    canvas.toBlob(resolve, 'image/jpeg', 0.92);
  });
  return await dataUrl(blob ?? picture);
}

async function pictureBody() {
  if (about.value.startsWith(cameraPrefix)) return { camera: about.value.slice(cameraPrefix.length) };
  if (about.value !== 'file') return {};
  const [picture] = file.files ?? [];
  if (picture === undefined) throw new Error('Choose a picture first.');
  return { image: await scaled(picture) };
}

/** @param {string} question */
async function ask(question) {
  if (question === '') return;
  setText(problem, '');
  const abort = new AbortController();
  asking = abort;
  send.disabled = true;
  stop.hidden = false;
  const answer = el('p', { class: 'answer', 'aria-busy': 'true' });
  const facts = el('p', { class: 'small muted' }, 'thinking');
  const item = el('li', {}, el('p', { class: 'question' }, question), answer, facts);
  try {
    const body = { prompt: question, ...(await pictureBody()) };
    answers.prepend(item);
    while (answers.children.length > maxAnswers) answers.lastElementChild?.remove();
    for await (const piece of lines(await post('ui/ask', body, abort.signal))) {
      if (piece.error !== undefined) throw new Error(piece.error.message);
      if (piece.text !== undefined) answer.append(piece.text);
      else
        setText(
          facts,
          `${piece.tokens} tokens in ${duration(piece.ms)}, slice ${piece.slice}${piece.end === 'length' ? ', cut off' : ''}`,
        );
    }
    announce(`Answer: ${answer.textContent}`);
    prompt.select();
  } catch (error) {
    if (abort.signal.aborted) {
      setText(facts, 'stopped');
      announce('The answer was stopped');
    } else {
      if (answer.textContent === '') item.remove();
      else setText(facts, 'broke off');
      setText(problem, error instanceof Error ? error.message : String(error));
    }
  } finally {
    asking = undefined;
    answer.removeAttribute('aria-busy');
    if (document.activeElement === stop) prompt.focus();
    send.disabled = false;
    stop.hidden = true;
  }
}

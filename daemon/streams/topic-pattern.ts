/** Topics of other systems that name their stream in a level: `frigate/{stream}/+/snapshot`. */

const place = '{stream}';

/** The filter that takes every stream of a template. */
export function patternFilter(template: string): string {
  return template.replace(place, '+');
}

/**
 * The stream a topic that matches belongs to. Other systems allow more in a name than hearth does: it is written in
 * lower case, everything but a-z, 0-9, _ and - becomes _.
 */
export function patternStream(template: string, topic: string): string {
  const level = topic.split('/')[template.split('/').indexOf(place)] ?? '';
  return level
    .toLowerCase()
    .replace(/[^a-z0-9_-]/g, '_')
    .slice(0, 64);
}

/** Whether some topic matches both filters; without the exception for `$` topics. */
export function filtersOverlap(a: string, b: string): boolean {
  const [left, right] = [a.split('/'), b.split('/')];
  for (let index = 0; index < Math.max(left.length, right.length); index++) {
    const [one, other] = [left[index], right[index]];
    if (one === '#' || other === '#') return true;
    if (one === undefined || other === undefined) return false;
    if (one !== '+' && other !== '+' && one !== other) return false;
  }
  return true;
}

/** Ends text before any of the stop sequences, holding back what could still become one. */
export class StopSequences {
  private held = '';

  constructor(private readonly stops: readonly string[]) {}

  /** `text` can be shown; `stopped` when a stop sequence was found (nothing after it is ever shown). */
  push(piece: string): { readonly text: string; readonly stopped: boolean } {
    this.held += piece;
    const found = this.stops
      .map((stop) => (stop === '' ? -1 : this.held.indexOf(stop)))
      .filter((at) => at >= 0)
      .sort((a, b) => a - b)[0];
    if (found !== undefined) {
      const text = this.held.slice(0, found);
      this.held = '';
      return { text, stopped: true };
    }
    const keep = Math.max(0, ...this.stops.map((stop) => this.possibleStart(stop)));
    const text = this.held.slice(0, this.held.length - keep);
    this.held = this.held.slice(this.held.length - keep);
    return { text, stopped: false };
  }

  /** What was held back, once it is known that nothing follows. */
  flush(): string {
    const text = this.held;
    this.held = '';
    return text;
  }

  /** Length of the longest end of the held text that begins `stop`. */
  private possibleStart(stop: string): number {
    for (let length = Math.min(stop.length - 1, this.held.length); length > 0; length--) {
      if (this.held.endsWith(stop.slice(0, length))) return length;
    }
    return 0;
  }
}

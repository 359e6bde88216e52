import type { Route } from './route.js';

/**
 * Where recent keys led, for whoever has exchange and key as texts. In memory only; forgotten when the virtual host's `epoch` moves.
 *
 * Two generations: what is not asked for while the younger one fills up goes with the older one. So a flood of keys that never come
 * again costs memory for a bounded number of them, and those that do come again stay.
 */
export const routesPerGenerationMax = 8192;

type Generation = Map<string, Map<string, Route>>;

export class RecentRoutes {
  private epoch = -1;
  private young: Generation = new Map();
  private old: Generation = new Map();
  private count = 0;

  find(epoch: number, exchange: string, key: string): Route | undefined {
    if (epoch !== this.epoch) {
      this.epoch = epoch;
      this.turn();
      this.turn();
    }
    const route = this.young.get(exchange)?.get(key);
    if (route !== undefined) return route;
    const kept = this.old.get(exchange)?.get(key);
    if (kept !== undefined) this.keep(exchange, key, kept);
    return kept;
  }

  keep(exchange: string, key: string, route: Route): void {
    if (++this.count > routesPerGenerationMax) this.turn();
    const byKey = this.young.get(exchange);
    if (byKey === undefined) this.young.set(exchange, new Map([[key, route]]));
    else byKey.set(key, route);
  }

  private turn(): void {
    this.old = this.young;
    this.young = new Map();
    this.count = 0;
  }
}

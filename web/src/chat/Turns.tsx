/** The turns of a branch, of which only those in sight are in the page. */

import { useVirtualizer } from "@tanstack/react-virtual";
import { lazy, Suspense, useEffect, useLayoutEffect, useRef } from "react";
import type { Compared } from "../api/types";
import { strings } from "../strings";
import { IconButton } from "../ui/Button";
import { Icon } from "../ui/Icon";
import type { Actions } from "./actions";
import { isActive } from "./reduce";
import type { TurnStore } from "./store";
import { TurnView } from "./TurnView";
import { siblingsOf, type Tree } from "./tree";

const CompareView = lazy(() => import("../compare/CompareView"));

const TYPICAL_HEIGHT = 320;
/** Whoever is this close to the end, in pixels, is taken along when it moves. */
const AT_END = 80;

interface Props {
  store: TurnStore;
  tree: Tree;
  path: string[];
  /** The answers that stand side by side in the last one's place. */
  pair: Compared[] | null;
  actions: Actions;
}

export function Turns({ store, tree, path, pair, actions }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const list = useVirtualizer({
    count: path.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => TYPICAL_HEIGHT,
    getItemKey: (index) => path[index] ?? index,
    anchorTo: "end",
    followOnAppend: true,
    scrollEndThreshold: AT_END,
    overscan: 3,
  });
  const last = path.at(-1);

  useLayoutEffect(() => list.scrollToEnd(), [list]);
  useEffect(() => {
    // A question just asked is looked at, wherever its asker was reading.
    const turn = last && store.turn(last);
    if (turn && isActive(turn.status)) list.scrollToEnd();
  }, [list, last, store]);

  return (
    <div className="relative min-h-0 flex-1">
      <section
        ref={scroller}
        aria-label={strings.turn.conversation}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be within the keyboard's reach.
        tabIndex={0}
        className="h-full overflow-y-auto overflow-x-hidden -outline-offset-2 [overflow-anchor:none]"
      >
        <div className="relative w-full" style={{ height: list.getTotalSize() }}>
          {list.getVirtualItems().map(({ index, key, start }) => {
            const id = path[index];
            return (
              <div
                key={key}
                data-index={index}
                ref={list.measureElement}
                className="absolute inset-x-0 top-0"
                style={{ transform: `translateY(${start}px)` }}
              >
                {id && pair && id === last ? (
                  <Suspense fallback={<div className="h-80" />}>
                    <CompareView store={store} pair={pair} actions={actions} />
                  </Suspense>
                ) : (
                  id && <TurnView store={store} id={id} siblings={siblingsOf(tree, id)} actions={actions} />
                )}
              </div>
            );
          })}
        </div>
      </section>
      {!list.isAtEnd() && (
        <IconButton
          label={strings.turn.newest}
          onClick={() => list.scrollToEnd()}
          look="raised"
          className="absolute inset-x-0 bottom-3 mx-auto"
        >
          <Icon name="arrowDown" />
        </IconButton>
      )}
    </div>
  );
}

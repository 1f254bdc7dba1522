/**
 * What the file system notifies of one spool: new names, and deferred ones. It may miss some, and where it cannot watch at all this is said
 * and the scans have to do.
 */
import { type FSWatcher, statSync, watch } from 'node:fs'
import { messageOf } from '../errors.ts'
import { deferredDir } from '../spool/layout.ts'
import type { Log } from './log.ts'

export interface Notices {
  /** True while deferred names are notified. */
  readonly tellDeferred: boolean
  /** Watches the directories that are there now. */
  start(): void
  /** False if the directories are not the ones that are watched, or could not be looked at meanwhile: names may have been missed. */
  areWatched(): boolean
  stop(): void
}

type OnName = (event: string, name: string) => void

export function openNotices(spool: string, log: Log, onName: OnName, onDeferred: OnName): Notices {
  const watchers: FSWatcher[] = []
  let tellDeferred = false
  let watched = ''

  const watchNames = (directory: string, onName: OnName): boolean => {
    try {
      const watcher = watch(directory, (event, name) => {
        if (name !== null) onName(event, name)
      })
      watcher.on('error', error => {
        tellDeferred = false
        log.line('watch-failed', { directory, text: messageOf(error) })
      })
      watchers.push(watcher)
      return true
    } catch (error) {
      log.line('watch-failed', { directory, text: `${messageOf(error)}; scanning only` })
      return false
    }
  }

  const stop = (): void => {
    for (const watcher of watchers.splice(0)) watcher.close()
  }

  return {
    get tellDeferred() {
      return tellDeferred
    },
    start() {
      stop()
      watched = identities(spool)
      watchNames(spool, onName)
      tellDeferred = watchNames(deferredDir(spool), onDeferred)
    },
    areWatched() {
      const known = watched
      watched = ''
      const there = identities(spool)
      if (there === known) watched = known
      return there === known
    },
    stop,
  }
}

function identities(spool: string): string {
  return [spool, deferredDir(spool)].map(identityOf).join(' ')
}

/** Tells a directory from one that has taken its place; inode numbers alone are used again. */
function identityOf(directory: string): string {
  const stat = statSync(directory, { throwIfNoEntry: false })
  return stat === undefined ? 'none' : `${stat.ino}:${stat.birthtimeMs}`
}

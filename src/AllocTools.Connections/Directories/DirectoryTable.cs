using System.Security.Cryptography;
using AllocTools.Validation;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Options;

namespace AllocTools.Connections.Directories;

/// <summary>The entries that a peer of the directory keeps, only in memory, because publishers soon publish again.</summary>
/// <remarks>
/// Leases are measured by monotonic time, and revisions are only compared with others of the same process. So no wall
/// clock decides what is kept: a clock may be set, here or at a publisher.
/// A removed entry leaves its revision until its lease would have ended, so that a late renewal does not restore it.
/// For an unknown entry, the lease in this peer's options determines that time. Such revisions have no reserved space:
/// they are dropped first if there is no room.
/// </remarks>
internal sealed class DirectoryTable(IOptions<RmaDirectoryOptions> options, TimeProvider? time = null)
{
    private readonly RmaDirectoryOptions _options = options.Value;
    private readonly TimeProvider _time = time ?? TimeProvider.System;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Processes> _names = [];
    private readonly Dictionary<string, Waiters> _waiters = [];
    private int _count;
    private long _bytes;

    /// <summary>How many times an entry was checked for expiry.</summary>
    public long Looks { get; private set; }

    /// <summary>Keeps a record.</summary>
    /// <returns>Why it is refused, with the HTTP status; null if it is kept.</returns>
    public (int Status, string Reason)? Put(DirectoryRecord record, byte[] encoded, TimeSpan lease)
    {
        (string name, Guid process) = record.Key;
        lock (_gate)
        {
            Purge_NeedsLock(name);
            Held? before = Find_NeedsLock(name, process);
            if (before is not null && (before.Revision > record.Revision || (before.Revision == record.Revision && before.Encoded is null)))
                return (StatusCodes.Status409Conflict, $"this peer has revision {before.Revision} of this process's entry{(before.Encoded is null ? ", which was removed" : "")}");
            if (before is null && IsFull_NeedsLock(name) is { } full)
                return (StatusCodes.Status507InsufficientStorage, full);
            long more = encoded.Length - (before?.Length ?? 0);
            if (_bytes + more > _options.MaxBytes)
                PurgeAll_NeedsLock();
            if (_bytes + more > _options.MaxBytes)
                return (StatusCodes.Status507InsufficientStorage, $"this peer keeps {InWords.Size(_bytes)} of entries, and MaxBytes allows {InWords.Size(_options.MaxBytes)}");
            Set_NeedsLock(name, process, new Held(record.Revision, encoded, Now() + lease));
            if (before?.Revision != record.Revision)
                Announce_NeedsLock(name);
            return null;
        }
    }

    /// <summary>Removes a record, unless there is a newer one.</summary>
    public void Remove(string name, Guid process, long revision)
    {
        lock (_gate)
        {
            Held? held = Find_NeedsLock(name, process);
            if (held is null ? IsFull_NeedsLock(name) is not null : held.Revision > revision)
                return;
            Set_NeedsLock(name, process, new Held(revision, null, held?.End ?? Now() + _options.Lease));
            if (held?.Encoded is not null)
                Announce_NeedsLock(name);
        }
    }

    /// <summary>Returns the entries under a name.</summary>
    /// <returns>The JSON forms with their remaining lease times, and a tag that differs after each change except renewals.</returns>
    public (List<(byte[] Encoded, TimeSpan Left)> Entries, string Tag) Read(string name)
    {
        lock (_gate)
        {
            Purge_NeedsLock(name);
            if (!_names.TryGetValue(name, out Processes? processes))
                return ([], "none");
            TimeSpan now = Now();
            KeyValuePair<Guid, Held>[] live = [.. processes.Where(static p => p.Value.Encoded is not null).OrderBy(static p => p.Key)];
            if (live.Length == 0)
                return ([], "none");
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            foreach ((Guid process, Held held) in live)
            {
                hash.AppendData(process.ToByteArray());
                hash.AppendData(BitConverter.GetBytes(held.Revision));
            }
            return ([.. live.Select(p => (p.Value.Encoded!, p.Value.End - now))], Convert.ToHexString(hash.GetHashAndReset().AsSpan(0, 16)));
        }
    }

    /// <summary>Waits until a name's tag has changed, or the time is up.</summary>
    public async Task WaitAsync(string name, string tag, TimeSpan limit, CancellationToken cancellationToken)
    {
        TimeSpan end = Now() + limit;
        Waiters waiters = Join(name);
        try
        {
            while (true)
            {
                Task changed = Changed(waiters);
                (List<(byte[] Encoded, TimeSpan Left)> entries, string current) = Read(name);
                TimeSpan left = end - Now();
                if (current != tag || left <= TimeSpan.Zero)
                    return;
                TimeSpan wait = entries.Select(static e => e.Left).Append(left).Min() + TimeSpan.FromMilliseconds(1);
                using var cancel = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
                await Task.WhenAny(changed, Task.Delay(wait, _time, cancel.Token)).ConfigureAwait(false);
                await cancel.CancelAsync().ConfigureAwait(false);
                cancellationToken.ThrowIfCancellationRequested();
            }
        }
        finally
        {
            Leave(name, waiters);
        }
    }

    private Waiters Join(string name)
    {
        lock (_gate)
        {
            if (!_waiters.TryGetValue(name, out Waiters? waiters))
                _waiters[name] = waiters = new Waiters();
            waiters.Count++;
            return waiters;
        }
    }

    private void Leave(string name, Waiters waiters)
    {
        lock (_gate)
        {
            if (--waiters.Count == 0)
                _waiters.Remove(name);
        }
    }

    private Task Changed(Waiters waiters)
    {
        lock (_gate)
            return waiters.Signal.Task;
    }

    private void Announce_NeedsLock(string name)
    {
        if (!_waiters.TryGetValue(name, out Waiters? waiters))
            return;
        waiters.Signal.TrySetResult();
        waiters.Signal = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    private Held? Find_NeedsLock(string name, Guid process) => _names.TryGetValue(name, out Processes? processes) ? processes.GetValueOrDefault(process) : null;

    private void Set_NeedsLock(string name, Guid process, Held held)
    {
        if (!_names.TryGetValue(name, out Processes? processes))
            _names[name] = processes = [];
        if (processes.TryGetValue(process, out Held? before))
            _bytes -= before.Length;
        else
            _count++;
        processes[process] = held;
        processes.FirstEnd = held.End < processes.FirstEnd ? held.End : processes.FirstEnd;
        _bytes += held.Length;
    }

    /// <summary>Makes room for one more entry under a name: expired entries are dropped first, then removed ones.</summary>
    /// <returns>Why there is no room; null if there is.</returns>
    private string? IsFull_NeedsLock(string name)
    {
        if (CountOf(name) >= _options.MaxEntriesPerName)
            Purge_NeedsLock(name, static held => held.Encoded is null);
        if (CountOf(name) >= _options.MaxEntriesPerName)
            return $"there are {InWords.Number(CountOf(name))} entries under this name, the most that MaxEntriesPerName allows";
        if (_count >= _options.MaxEntries)
            PurgeAll_NeedsLock();
        if (_count >= _options.MaxEntries)
            PurgeAll_NeedsLock(static held => held.Encoded is null);
        return _count < _options.MaxEntries ? null : $"this peer keeps {InWords.Number(_count)} entries, the most that MaxEntries allows";

        int CountOf(string of) => _names.TryGetValue(of, out Processes? processes) ? processes.Count : 0;
    }

    /// <summary>Drops the expired entries of a name, and other unneeded records.</summary>
    private void Purge_NeedsLock(string name, Func<Held, bool>? isDropped = null)
    {
        if (!_names.TryGetValue(name, out Processes? processes))
            return;
        TimeSpan now = Now();
        // Each renewal runs this code, so the entries are checked only once the first of them may have expired.
        if (isDropped is null && now < processes.FirstEnd)
            return;
        processes.FirstEnd = TimeSpan.MaxValue;
        foreach ((Guid process, Held held) in processes)
        {
            Looks++;
            if (held.End > now && isDropped?.Invoke(held) != true)
            {
                processes.FirstEnd = held.End < processes.FirstEnd ? held.End : processes.FirstEnd;
                continue;
            }
            // A dictionary may be read on while entries are removed from it.
            processes.Remove(process);
            _count--;
            _bytes -= held.Length;
        }
        if (processes.Count == 0)
            _names.Remove(name);
    }

    private void PurgeAll_NeedsLock(Func<Held, bool>? isDropped = null)
    {
        foreach (string name in _names.Keys.ToArray())
            Purge_NeedsLock(name, isDropped);
    }

    private TimeSpan Now() => _time.GetElapsedTime(0);

    /// <param name="Revision">The publication's number.</param>
    /// <param name="Encoded">Its JSON form; null if it was removed.</param>
    /// <param name="End">The end of its lease.</param>
    private sealed record Held(long Revision, byte[]? Encoded, TimeSpan End)
    {
        public int Length => Encoded?.Length ?? 0;
    }

    /// <summary>The entries of a name.</summary>
    private sealed class Processes : Dictionary<Guid, Held>
    {
        /// <summary>The time when the first of them expires, or an earlier one.</summary>
        public TimeSpan FirstEnd { get; set; } = TimeSpan.MaxValue;
    }

    private sealed class Waiters
    {
        public int Count { get; set; }

        public TaskCompletionSource Signal { get; set; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}

using System.Security.Cryptography;
using AllocTools.Validation;
using Microsoft.Extensions.Options;

namespace AllocTools.Connections.Directories;

/// <summary>What a peer of the directory keeps, in memory alone: who has published publishes again before long.</summary>
/// <remarks>What was taken out leaves its revision until its lease would have been over, so that a renewal that comes late does not bring it back.</remarks>
internal sealed class DirectoryTable(IOptions<RmaDirectoryOptions> options, TimeProvider? time = null)
{
    private readonly RmaDirectoryOptions _options = options.Value;
    private readonly TimeProvider _time = time ?? TimeProvider.System;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Dictionary<Guid, Held>> _names = [];
    private readonly Dictionary<string, Waiters> _waiters = [];
    private int _count;

    /// <summary>Keeps a record.</summary>
    /// <returns>Why not; null: it is kept, or a newer one is.</returns>
    public string? Put(DirectoryRecord record, byte[] encoded, TimeSpan lease)
    {
        lock (_gate)
        {
            Purge_NeedsLock(record.Entry.Name);
            Held? before = null;
            bool isNamed = _names.TryGetValue(record.Entry.Name, out Dictionary<Guid, Held>? processes);
            bool isKnown = isNamed && processes!.TryGetValue(record.Entry.Process, out before);
            if (isKnown && (before!.Revision > record.Revision || (before.Revision == record.Revision && before.Encoded is null)))
                return null;
            if (!isKnown)
            {
                if (isNamed && processes!.Count >= _options.MaxEntriesPerName)
                    return $"there are {InWords.Number(processes.Count)} entries by this name, and MaxEntriesPerName allows no more";
                if (_count >= _options.MaxEntries)
                    PurgeAll_NeedsLock();
                if (_count >= _options.MaxEntries)
                    return $"this peer keeps {InWords.Number(_count)} entries, and MaxEntries allows no more";
                // The purge may have taken it away.
                if (!_names.TryGetValue(record.Entry.Name, out processes))
                    _names[record.Entry.Name] = processes = [];
                _count++;
            }
            processes![record.Entry.Process] = new Held(record.Revision, encoded, Now() + lease);
            if (!isKnown || before!.Revision != record.Revision)
                Announce_NeedsLock(record.Entry.Name);
            return null;
        }
    }

    /// <summary>Takes a record out, unless a newer one is there.</summary>
    public void Remove(string name, Guid process, long revision)
    {
        lock (_gate)
        {
            if (!_names.TryGetValue(name, out Dictionary<Guid, Held>? processes) || !processes.TryGetValue(process, out Held? held) || held.Encoded is null || held.Revision > revision)
                return;
            processes[process] = held with { Revision = revision, Encoded = null };
            Announce_NeedsLock(name);
        }
    }

    /// <summary>What is published by a name.</summary>
    /// <returns>The forms in JSON with what is left of their leases, and a tag that is another one after each change but for renewals.</returns>
    public (List<(byte[] Encoded, TimeSpan Left)> Entries, string Tag) Read(string name)
    {
        lock (_gate)
        {
            Purge_NeedsLock(name);
            if (!_names.TryGetValue(name, out Dictionary<Guid, Held>? processes))
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

    /// <summary>Waits until a name's tag is another one, or the time is over.</summary>
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

    private void Purge_NeedsLock(string name)
    {
        if (!_names.TryGetValue(name, out Dictionary<Guid, Held>? processes))
            return;
        TimeSpan now = Now();
        foreach ((Guid process, _) in processes.Where(p => p.Value.End <= now))
        {
            processes.Remove(process);
            _count--;
        }
        if (processes.Count == 0)
            _names.Remove(name);
    }

    private void PurgeAll_NeedsLock()
    {
        foreach (string name in _names.Keys.ToArray())
            Purge_NeedsLock(name);
    }

    private TimeSpan Now() => _time.GetElapsedTime(0);

    /// <param name="Revision">The publication's number.</param>
    /// <param name="Encoded">Its form in JSON; null: it was taken out.</param>
    /// <param name="End">When its lease is over.</param>
    private sealed record Held(long Revision, byte[]? Encoded, TimeSpan End);

    private sealed class Waiters
    {
        public int Count { get; set; }

        public TaskCompletionSource Signal { get; set; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}

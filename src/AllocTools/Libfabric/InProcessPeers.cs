namespace AllocTools.Libfabric;

/// <summary>Closes an shm endpoint only after all other endpoints of this process that use its memory.</summary>
/// <remarks>
/// libfabric maps the memory of an shm endpoint once in its own process: the process's other endpoints use that
/// mapping, and fi_close removes it while they use it. If one of them then posts to the closed endpoint, or reads an
/// operation that the endpoint had posted, the process crashes with SIGSEGV (libfabric 1.17; other processes have their
/// own mappings). Therefore libfabric closes an endpoint only when no endpoint that it has met is in use any more.
/// Until then it is closed for all others: no thread makes progress for it, and its file has neither name nor lock. Two
/// endpoints have met when one has inserted the other, because the first operation makes the other one known, too.
/// libfabric's list belongs to the process, and so does this one.
/// </remarks>
internal sealed class InProcessPeers
{
    private static readonly Lock Gate = new();
    private static readonly Dictionary<string, InProcessPeers> InUse = [];

    private readonly string _path;
    private readonly HashSet<InProcessPeers> _met = [];
    private bool _isInUse = true;
    private Action? _close;

    private InProcessPeers(string path) => _path = path;

    /// <summary>Whether any endpoint that this one has met is in use.</summary>
    public bool AreInUse
    {
        get
        {
            lock (Gate)
                return AreInUse_NeedsLock;
        }
    }

    private bool AreInUse_NeedsLock => _met.Any(static m => m._isInUse);

    /// <summary>Called when an endpoint has been opened, before its address is known to others.</summary>
    /// <param name="path">The endpoint's file.</param>
    public static InProcessPeers Enter(string path)
    {
        var entered = new InProcessPeers(path);
        lock (Gate)
            InUse.Add(path, entered);
        return entered;
    }

    /// <summary>Called when a peer is about to be inserted.</summary>
    /// <param name="path">The peer's file.</param>
    /// <returns>False if the file does not belong to an endpoint of this process that is in use. If it has no name at that
    /// point, it belonged to one that has been closed.</returns>
    public bool TryMeet(string path)
    {
        lock (Gate)
        {
            if (!InUse.TryGetValue(path, out InProcessPeers? other))
                return false;
            if (other != this)
            {
                _met.Add(other);
                other._met.Add(this);
            }
            return true;
        }
    }

    /// <summary>Called when no call for the endpoint is running or will follow, and its file has no name.</summary>
    /// <param name="close">Closes it in libfabric, immediately or when the last endpoint that it has met is closed. It
    /// must not throw.</param>
    public void Leave(Action close)
    {
        List<Action> due = [];
        lock (Gate)
        {
            InUse.Remove(_path);
            _isInUse = false;
            _close = close;
            foreach (InProcessPeers left in (InProcessPeers[])[this, .. _met])
            {
                if (left._close is null || left.AreInUse_NeedsLock)
                    continue;
                due.Add(left._close);
                left._close = null;
                foreach (InProcessPeers other in left._met)
                    other._met.Remove(left);
                left._met.Clear();
            }
        }
        due.ForEach(static c => c());
    }
}

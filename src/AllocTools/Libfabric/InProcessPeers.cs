namespace AllocTools.Libfabric;

/// <summary>An endpoint of shm among the others of this process: it is closed after those that use its memory.</summary>
/// <remarks>
/// libfabric maps the memory of an endpoint of shm once in its own process: the process's other endpoints use that
/// mapping, and fi_close takes it away under them. One that then posts to the closed endpoint, or reads what that has
/// posted before, ends the process by SIGSEGV (libfabric 1.17; another process has a mapping of its own). So an
/// endpoint is closed with libfabric once none that it has met is in use any more. Until then it is closed for all
/// others: nobody makes progress for it, and its file has neither name nor lock. Two have met when one has inserted the
/// other: by its first operation the other comes to know it, too. libfabric's list is the process's, and so is this.
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

    /// <summary>One that it has met is in use.</summary>
    public bool AreInUse
    {
        get
        {
            lock (Gate)
                return AreInUse_NeedsLock;
        }
    }

    private bool AreInUse_NeedsLock => _met.Any(static m => m._isInUse);

    /// <summary>An endpoint has been opened, whose address nobody knows yet.</summary>
    /// <param name="path">Its file.</param>
    public static InProcessPeers Enter(string path)
    {
        var entered = new InProcessPeers(path);
        lock (Gate)
            InUse.Add(path, entered);
        return entered;
    }

    /// <summary>A peer is about to be inserted.</summary>
    /// <param name="path">Its file.</param>
    /// <returns>False: it is none of this process's that is in use. Where the file has no name now, it was one.</returns>
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

    /// <summary>No call for the endpoint runs or comes any more, and its file has no name.</summary>
    /// <param name="close">Closes it with libfabric, at once or when the last that it has met leaves. Must not throw.</param>
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

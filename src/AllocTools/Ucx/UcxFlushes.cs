using System.Runtime.InteropServices;

namespace AllocTools.Ucx;

/// <summary>A flush (ucp_ep_flush_nbx), and the writes that complete with it.</summary>
internal sealed unsafe class UcxFlush
{
    private readonly UcxRequests _request;
    private readonly GCHandle _handle;

    public UcxFlush(UcxContext context, UcxMailbox* mailbox, int maxOutstanding)
    {
        Writes = new List<int>(maxOutstanding);
        _handle = GCHandle.Alloc(this);
        _request = new UcxRequests(1, context.RequestSize, UcxRequestKind.Flush, mailbox, GCHandle.ToIntPtr(_handle));
    }

    public UcxRequest* Request => _request[0];

    /// <summary>The connection of the writes.</summary>
    public UcxConnection Connection { get; set; } = null!;

    /// <summary>The indices of the writes.</summary>
    public List<int> Writes { get; set; }

    /// <summary>Frees the flush, once UCX no longer uses it.</summary>
    public void Free()
    {
        _request.Free();
        _handle.Free();
    }
}

/// <summary>The flushes of an endpoint. There are as many as were ever in progress at the same time.</summary>
internal sealed unsafe class UcxFlushes(UcxContext context, UcxMailbox* mailbox, int maxOutstanding)
{
    private readonly UcxMailbox* _mailbox = mailbox;
    private readonly Lock _gate = new();
    private readonly Stack<UcxFlush> _free = new();
    private readonly List<UcxFlush> _all = [];

    /// <summary>The number of flushes taken so far.</summary>
    public long Taken
    {
        get
        {
            lock (_gate)
                return field;
        }
        private set;
    }

    public UcxFlush Take()
    {
        lock (_gate)
        {
            Taken++;
            if (_free.TryPop(out UcxFlush? free))
                return free;
            var flush = new UcxFlush(context, _mailbox, maxOutstanding);
            _all.Add(flush);
            return flush;
        }
    }

    public void GiveBack(UcxFlush flush)
    {
        flush.Writes.Clear();
        lock (_gate)
            _free.Push(flush);
    }

    /// <summary>Frees all flushes, once UCX no longer uses them.</summary>
    public void Free() => _all.ForEach(static f => f.Free());
}

/// <summary>The connections with writes that a progress turn must flush.</summary>
internal sealed class UcxDueConnections
{
    private readonly Lock _gate = new();
    private readonly List<UcxConnection> _connections = [];
    private volatile bool _any;

    public bool Any => _any;

    public void Add(UcxConnection connection)
    {
        lock (_gate)
        {
            _connections.Add(connection);
            _any = true;
        }
    }

    public void TakeAll(List<UcxConnection> taken)
    {
        lock (_gate)
        {
            taken.AddRange(_connections);
            _connections.Clear();
            _any = false;
        }
    }
}

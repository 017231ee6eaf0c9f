using AllocTools.Endpoints;
using AllocTools.Endpoints.Addressing;
using AllocTools.Regions;

namespace AllocTools.HostMemory;

/// <summary>Memory that operations inside the process can reach by its key.</summary>
internal sealed class HostRegistration(TransportDescription transport, nint address, long length, RmaAccess access, ulong key, bool isLocked) : IRmaRegistration
{
    private readonly object _gate = new();
    private int _users;
    private bool _closed;

    public nint Address => address;

    public long Length => length;

    public RmaAccess Access => access;

    public ulong Key => key;

    public bool IsLocked => isLocked;

    public RemoteMemory Describe(long offset, long partLength, RmaAccess granted)
    {
        RangeCheck.ThrowIfOutside(offset, partLength, length);
        return new RemoteMemory((ulong)offset, partLength, key, granted).Of(transport);
    }

    /// <summary>Keeps the memory registered while it is copied. Returns false if it is no longer registered.</summary>
    public bool TryEnter()
    {
        lock (_gate)
        {
            if (_closed)
                return false;
            _users++;
            return true;
        }
    }

    public void Exit()
    {
        lock (_gate)
        {
            if (--_users == 0 && _closed)
                Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Ends the registration once no copy is running.</summary>
    public void Close()
    {
        lock (_gate)
        {
            _closed = true;
            while (_users > 0)
                Monitor.Wait(_gate);
        }
    }
}

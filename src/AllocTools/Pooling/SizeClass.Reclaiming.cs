using System.Runtime.InteropServices;

namespace AllocTools.Pooling;

/// <content>Gives back idle memory of the class, and computes how much may be given back.</content>
internal sealed partial class SizeClass
{
    /// <summary>
    /// Gives back idle slabs, those that have been idle longest first, until the given number of bytes is free again.
    /// </summary>
    /// <param name="bytes">Bytes.</param>
    /// <param name="initialToo">Whether to give back also those that were registered at start, which no other class gets.</param>
    public long Reclaim(long bytes, bool initialToo)
    {
        long reclaimed = 0;
        while (reclaimed < bytes && TryDestroyIdle(s => s.FindIdle(initialToo), out long length))
            reclaimed += length;
        return reclaimed;
    }

    /// <summary>Bytes of idle slabs that may be given back for others.</summary>
    public long IdleBytes => _shelves.IdleBytes;

    /// <summary>
    /// Like <see cref="IdleBytes"/>, and what may join them when the magazines are emptied. It may be too much, but
    /// never too little.
    /// </summary>
    public long IdleBytesWithMagazines
    {
        get
        {
            // All slabs are idle, or there are none.
            if (_shelves.Bytes == _shelves.IdleBytes)
                return _shelves.IdleBytes;
            lock (_gate)
                return _magazines.Blocks is > 0 and long blocks ? _shelves.IdleBytesWith(blocks) : _shelves.IdleBytes;
        }
    }

    /// <inheritdoc cref="SlabShelves.AddUp"/>
    public void AddUp(long atLeast, ref long large, ref long kept)
    {
        lock (_gate)
            _shelves.AddUp(atLeast, ref large, ref kept);
    }

    public override void Trim(long idleSince)
    {
        Gather(MagazinesToCollect.Idle);
        _magazines.Widen();
        while (TryDestroyIdle(s => s.FindIdle(idleSince, InitialBlocks), out long length))
            Parts.Counters.CountTrim(length);
    }

    public override void ReleaseIdle()
    {
        lock (Parts.Memory.Gathering)
        {
            lock (_gate)
                _shelves.Put(CollectionsMarshal.AsSpan(_magazines.Close()));
        }
        AfterPut();
    }

    /// <summary>Gives back all idle memory if the pool is closed.</summary>
    public void ReclaimIfClosed()
    {
        if (Parts.Lifetime.IsClosed)
            Reclaim(long.MaxValue, initialToo: true);
    }

    private bool TryDestroyIdle(Func<SlabShelves, FreeBlocks?> choose, out long length)
    {
        Slab slab;
        lock (_gate)
        {
            if (choose(_shelves) is not { } idle)
            {
                length = 0;
                return false;
            }
            slab = idle.Slab;
            length = slab.Region.Length;
            Parts.Memory.InTransit.Enter(length);
            _shelves.Remove(idle);
        }
        try
        {
            Parts.Slabs.Destroy(slab);
        }
        finally
        {
            Parts.Memory.InTransit.Leave(length);
        }
        return true;
    }
}

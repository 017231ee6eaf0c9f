using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;

namespace AllocTools.MultiRail;

/// <summary>Local memory that is registered with each rail (<see cref="RmaMultiRail.Rent"/>, <see cref="RmaMultiRail.Attach"/>).</summary>
/// <remarks>Safe to use from any thread. Transfers hold the memory: it returns to its pool after the last of them.</remarks>
public sealed class RmaRailMemory : IDisposable
{
    // The memory as registered by each rail's pool. Rails on one context share a registration.
    private readonly RmaBuffer[] _buffers;
    private readonly RmaBuffer? _rented;
    private readonly RmaBuffer[] _registered;
    private int _disposed;

    internal RmaRailMemory(RmaMultiRail owner, RmaBuffer memory, RmaBuffer? rented)
    {
        Owner = owner;
        Length = memory.Length;
        _rented = rented;
        _buffers = new RmaBuffer[owner.Rails.Count];
        List<RmaBuffer> registered = [];
        try
        {
            for (int i = 0; i < _buffers.Length; i++)
            {
                IRmaMemoryPool pool = owner.Rails[i].Pool;
                RmaBuffer[] there = [.. registered.Prepend(memory).Where(b => ReferenceEquals(b.Context, pool.Context))];
                if (there.Length == 0)
                    registered.Add(_buffers[i] = pool.Register(memory.Memory));
                else
                    _buffers[i] = there[0];
            }
        }
        catch
        {
            registered.ForEach(static b => b.Dispose());
            rented?.Dispose();
            throw;
        }
        _registered = [.. registered];
    }

    /// <summary>The length in bytes.</summary>
    public long Length { get; }

    /// <summary>The bytes.</summary>
    /// <exception cref="InvalidOperationException">The memory is disposed.</exception>
    public Span<byte> Span => _buffers[0].Span;

    internal RmaMultiRail Owner { get; }

    /// <summary>Exposes the memory to peers, on all rails.</summary>
    /// <param name="access">What peers may do with it.</param>
    /// <exception cref="ArgumentException">The access includes neither RemoteRead nor RemoteWrite.</exception>
    /// <exception cref="InvalidOperationException">The memory is disposed, or a rail's pool does not allow this access.</exception>
    public RmaRailExposure Expose(RmaAccess access) => new(Owner, _buffers, access);

    /// <summary>Ends the registrations, and returns the memory to its pool if it was rented here.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        // A registration pins the rented memory, which returns to its pool once the last operation has released it.
        foreach (RmaBuffer buffer in _registered)
            buffer.Dispose();
        _rented?.Dispose();
    }

    /// <summary>Returns a part of the memory for a rail's endpoint.</summary>
    internal RmaSlice Slice(int rail, long offset, long length) => _buffers[rail].Slice(offset, length);
}

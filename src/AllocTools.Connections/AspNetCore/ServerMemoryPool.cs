using System.Buffers;
using AllocTools.Buffers;
using AllocTools.Diagnostics;

namespace AllocTools.Connections.AspNetCore;

/// <summary>The source of blocks for a server's transport: the pool as long as it has room, and otherwise unregistered memory.</summary>
internal sealed class ServerMemoryPool(ServerMemoryFactory factory, IRmaMemoryPool pool, int maxBlockSize) : MemoryPool<byte>, IRentAccount
{
    /// <summary>The size of a block that is requested without a size, as in ASP.NET Core's own pool.</summary>
    private const int DefaultSize = 4096;

    private volatile bool _isDisposed;

    /// <summary>Gets the longest block. A pipe takes longer ones from <see cref="ArrayPool{T}"/>.</summary>
    public override int MaxBufferSize => maxBlockSize;

    public override IMemoryOwner<byte> Rent(int minBufferSize = -1)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (minBufferSize < -1 || minBufferSize > maxBlockSize)
            throw new ArgumentOutOfRangeException(nameof(minBufferSize), minBufferSize, $"The size must be between 0 and {maxBlockSize} bytes, or -1 for any.");
        int length = minBufferSize == -1 ? Math.Min(DefaultSize, maxBlockSize) : Math.Max(1, minBufferSize);
        (string ErrorType, string Reason) refusal;
        try
        {
            if (pool.TryRent(length, out RmaBuffer buffer))
            {
                var owner = new RmaMemoryOwner(buffer.WholeBlock(), this, asArray: true);
                factory.Rented.Add(owner.Buffer.Length);
                return owner;
            }
            refusal = ("exhausted", "has no room below its cap");
        }
        catch (RmaException e)
        {
            refusal = (RmaTags.ErrorTypeOf(e), "could not register memory");
        }
        catch (ObjectDisposedException)
        {
            // These are requests that are still answered while the application stops.
            refusal = ("closed", "is closed");
        }
        catch (ArgumentOutOfRangeException)
        {
            refusal = ("exhausted", "has a cap that is lower than one block");
        }
        IMemoryOwner<byte> plain = Shared.Rent(length);
        factory.OnUnregistered(plain.Memory.Length, refusal.ErrorType, refusal.Reason);
        return plain;
    }

    public void OnReturned(long length) => factory.Rented.Add(-length);

    /// <summary>Called when the transport has ended. Blocks that its connections still hold come back when the connections end.</summary>
    protected override void Dispose(bool disposing) => _isDisposed = true;
}

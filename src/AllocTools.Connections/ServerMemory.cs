using System.Buffers;
using Microsoft.AspNetCore.Connections.Features;

namespace AllocTools.Connections;

/// <summary>
/// The memory that Kestrel uses for data outside the rings, such as frames of HTTP/2: that of
/// <see cref="MemoryPool{T}.Shared"/>, but never an empty block.
/// </summary>
/// <remarks>
/// Without this feature, Kestrel uses the shared pool itself. Once a client has gone, Kestrel drops what the
/// application writes: it rents a block of the size that the application requests, where 0 means any size. For 0, the
/// shared pool returns an empty block. Code that asks until it has room, such as the serializer of Protocol Buffers,
/// would then ask forever.
/// </remarks>
internal sealed class ServerMemory : MemoryPool<byte>, IMemoryPoolFeature
{
    public static readonly ServerMemory Instance = new();

    private ServerMemory()
    {
    }

    public MemoryPool<byte> MemoryPool => this;

    public override int MaxBufferSize => Shared.MaxBufferSize;

    public override IMemoryOwner<byte> Rent(int minBufferSize = -1) => Shared.Rent(minBufferSize == 0 ? -1 : minBufferSize);

    /// <summary>Does nothing, because all connections share the pool.</summary>
    protected override void Dispose(bool disposing)
    {
    }
}

using System.Buffers;
using Microsoft.AspNetCore.Connections.Features;

namespace AllocTools.Connections;

/// <summary>The memory in which Kestrel keeps what belongs to no ring, such as frames of HTTP/2: that of <see cref="MemoryPool{T}.Shared"/>, but never an empty block.</summary>
/// <remarks>
/// Without this feature Kestrel takes the shared pool itself. Once a client is gone, Kestrel drops what the application writes, into a block that it rents with the size that the application asks for, and 0
/// means any. For 0 the shared pool has an empty block, and what asks until it has room, such as the serializer of Protocol Buffers, would ask forever.
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

    /// <summary>All connections share it.</summary>
    protected override void Dispose(bool disposing)
    {
    }
}

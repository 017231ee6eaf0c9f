using System.Buffers.Binary;
using System.Text;
using AllocTools;

namespace WorkerService.Protocol;

/// <summary>Writes a body. The caller's values fit; a message of ours is never longer than <see cref="WireFormat.MaxMessageLength"/>.</summary>
internal ref struct WireWriter(Span<byte> destination)
{
    private Span<byte> _rest = destination;

    public int Written { get; private set; }

    public void WriteInt32(int value)
    {
        BinaryPrimitives.WriteInt32LittleEndian(_rest, value);
        Advance(sizeof(int));
    }

    public void WriteInt64(long value)
    {
        BinaryPrimitives.WriteInt64LittleEndian(_rest, value);
        Advance(sizeof(long));
    }

    public void WriteBytes(ReadOnlySpan<byte> value)
    {
        value.CopyTo(_rest);
        Advance(value.Length);
    }

    /// <summary>Bytes with their length before them.</summary>
    public void WriteBlob(ReadOnlySpan<byte> value)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(_rest, checked((ushort)value.Length));
        Advance(sizeof(ushort));
        WriteBytes(value);
    }

    /// <summary>UTF-8 with its length before it.</summary>
    public void WriteText(string value) => WriteBlob(Encoding.UTF8.GetBytes(value));

    public void WriteRemoteMemory(RemoteMemory value) => Advance(value.WriteTo(_rest));

    private void Advance(int count)
    {
        _rest = _rest[count..];
        Written += count;
    }
}

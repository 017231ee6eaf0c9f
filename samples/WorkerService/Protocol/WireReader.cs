using System.Buffers.Binary;
using System.Text;
using AllocTools;

namespace WorkerService.Protocol;

/// <summary>Reads a body that may come from anybody. What doesn't fit is a <see cref="FormatException"/>.</summary>
internal ref struct WireReader(ReadOnlySpan<byte> bytes)
{
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
    private ReadOnlySpan<byte> _rest = bytes;

    public int ReadInt32() => BinaryPrimitives.ReadInt32LittleEndian(ReadBytes(sizeof(int)));

    public long ReadInt64() => BinaryPrimitives.ReadInt64LittleEndian(ReadBytes(sizeof(long)));

    public ReadOnlySpan<byte> ReadBytes(int length)
    {
        if (_rest.Length < length)
            throw new FormatException($"a body that ends {length - _rest.Length} bytes early");
        ReadOnlySpan<byte> taken = _rest[..length];
        _rest = _rest[length..];
        return taken;
    }

    /// <summary>Bytes with their length before them.</summary>
    public ReadOnlySpan<byte> ReadBlob(int maxLength)
    {
        int length = BinaryPrimitives.ReadUInt16LittleEndian(ReadBytes(sizeof(ushort)));
        return length <= maxLength ? ReadBytes(length) : throw new FormatException($"a field of {length} bytes where {maxLength} are the most");
    }

    /// <summary>UTF-8 with its length before it.</summary>
    public string ReadText(int maxLength)
    {
        try
        {
            return StrictUtf8.GetString(ReadBlob(maxLength));
        }
        catch (DecoderFallbackException)
        {
            throw new FormatException("a text that is not UTF-8");
        }
    }

    public RemoteMemory ReadRemoteMemory()
    {
        if (!RemoteMemory.TryRead(_rest, out RemoteMemory memory, out int consumed, out string? error))
            throw new FormatException(error);
        _rest = _rest[consumed..];
        return memory;
    }

    /// <summary>Checks that nothing follows.</summary>
    public readonly void End()
    {
        if (!_rest.IsEmpty)
            throw new FormatException($"a body that goes on for {_rest.Length} bytes");
    }
}

using System.Buffers.Binary;

namespace WorkerService.Protocol;

/// <summary>Writes and reads whole messages of one session.</summary>
internal sealed class MessageCodec(Guid session)
{
    private const int VersionAt = 4;
    private const int KindAt = 5;
    private const int BodyLengthAt = 6;
    private const int SessionAt = 8;

    /// <summary>Writes a message.</summary>
    /// <param name="message">The message.</param>
    /// <param name="destination">At least <see cref="WireFormat.MaxMessageLength"/> bytes.</param>
    /// <returns>Its length, in bytes.</returns>
    public int Write(Message message, Span<byte> destination)
    {
        var writer = new WireWriter(destination[WireFormat.HeaderLength..]);
        message.WriteTo(ref writer);
        WireFormat.Tag.CopyTo(destination);
        destination[VersionAt] = WireFormat.Version;
        destination[KindAt] = (byte)message.Kind;
        BinaryPrimitives.WriteUInt16LittleEndian(destination[BodyLengthAt..], checked((ushort)writer.Written));
        session.TryWriteBytes(destination[SessionAt..]);
        return WireFormat.HeaderLength + writer.Written;
    }

    /// <summary>Reads a message, which may come from anybody.</summary>
    /// <returns>The message, or null where it is none of this session: an endpoint hears everybody.</returns>
    /// <exception cref="FormatException">It is of this session, and is wrong; the message says what it has.</exception>
    public Message? Read(ReadOnlySpan<byte> source)
    {
        if (source.Length < WireFormat.HeaderLength || !source.StartsWith(WireFormat.Tag))
            return null;
        if (new Guid(source.Slice(SessionAt, WireFormat.HeaderLength - SessionAt)) != session)
            return null;
        if (source[VersionAt] != WireFormat.Version)
            throw new FormatException($"version {source[VersionAt]} of the protocol, this side has {WireFormat.Version}");
        int bodyLength = BinaryPrimitives.ReadUInt16LittleEndian(source[BodyLengthAt..]);
        ReadOnlySpan<byte> body = source[WireFormat.HeaderLength..];
        if (bodyLength != body.Length)
            throw new FormatException($"a body of {body.Length} bytes where {bodyLength} were announced");
        var reader = new WireReader(body);
        Message message = Read((MessageKind)source[KindAt], ref reader);
        reader.End();
        return message;
    }

    private static Message Read(MessageKind kind, ref WireReader reader) => kind switch
    {
        MessageKind.Offer => OfferMessage.Read(ref reader),
        MessageKind.Grant => GrantMessage.Read(ref reader),
        MessageKind.Chunk => ChunkMessage.Read(ref reader),
        MessageKind.Complete => CompleteMessage.Read(ref reader),
        MessageKind.Result => ResultMessage.Read(ref reader),
        MessageKind.Abort => AbortMessage.Read(ref reader),
        _ => throw new FormatException($"a message of kind {(byte)kind}"),
    };
}

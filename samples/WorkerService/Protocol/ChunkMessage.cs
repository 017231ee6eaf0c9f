namespace WorkerService.Protocol;

/// <summary>Sender to receiver: these bytes of the file are in that slot. Sent after the write that put them there has completed.</summary>
/// <remarks>Body: slot (4), offset in the file (8), length (4). The slot is the receiver's again.</remarks>
/// <param name="Slot">Of the grant that was used.</param>
/// <param name="Offset">Bytes from the start of the file.</param>
/// <param name="Length">Bytes, 1 or more.</param>
internal sealed record ChunkMessage(int Slot, long Offset, int Length) : Message
{
    public override MessageKind Kind => MessageKind.Chunk;

    public static ChunkMessage Read(ref WireReader reader)
    {
        var message = new ChunkMessage(reader.ReadInt32(), reader.ReadInt64(), reader.ReadInt32());
        return message is { Slot: >= 0, Offset: >= 0, Length: > 0 } ? message : throw new FormatException(message.ToString());
    }

    public override void WriteTo(ref WireWriter writer)
    {
        writer.WriteInt32(Slot);
        writer.WriteInt64(Offset);
        writer.WriteInt32(Length);
    }
}

namespace WorkerService.Protocol;

/// <summary>Sender to receiver: here is a file.</summary>
/// <remarks>Body: file length (8), chunk size (4), chunks in flight (4), address with its length before it (2), name likewise.</remarks>
/// <param name="FileLength">Bytes, 0 or more.</param>
/// <param name="ChunkSize">The most that the sender writes at once, in bytes, 1 or more.</param>
/// <param name="InFlight">The most chunks that it can use at a time, 1 or more.</param>
/// <param name="Address">The sender's endpoint.</param>
/// <param name="Name">A plain file name, checked by <see cref="FileName"/>.</param>
internal sealed record OfferMessage(long FileLength, int ChunkSize, int InFlight, byte[] Address, string Name) : Message
{
    public override MessageKind Kind => MessageKind.Offer;

    public static OfferMessage Read(ref WireReader reader)
    {
        long fileLength = reader.ReadInt64();
        int chunkSize = reader.ReadInt32();
        int inFlight = reader.ReadInt32();
        byte[] address = reader.ReadBlob(WireFormat.MaxAddressLength).ToArray();
        string name = reader.ReadText(WireFormat.MaxFileNameLength);
        if (fileLength < 0 || chunkSize < 1 || inFlight < 1 || address.Length == 0)
            throw new FormatException($"an offer of {fileLength} bytes in chunks of {chunkSize}, {inFlight} at a time, from an address of {address.Length} bytes");
        if (FileName.FindError(name) is { } error)
            throw new FormatException($"a file whose name {error}");
        return new OfferMessage(fileLength, chunkSize, inFlight, address, name);
    }

    public override void WriteTo(ref WireWriter writer)
    {
        writer.WriteInt64(FileLength);
        writer.WriteInt32(ChunkSize);
        writer.WriteInt32(InFlight);
        writer.WriteBlob(Address);
        writer.WriteText(Name);
    }
}

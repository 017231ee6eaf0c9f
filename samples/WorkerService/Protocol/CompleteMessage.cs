namespace WorkerService.Protocol;

/// <summary>Sender to receiver: that was all, and this is the hash of what was read. May arrive before the last chunks.</summary>
/// <remarks>Body: SHA-256 (32).</remarks>
/// <param name="Hash">The sender's hash.</param>
internal sealed record CompleteMessage(byte[] Hash) : Message
{
    public override MessageKind Kind => MessageKind.Complete;

    public static CompleteMessage Read(ref WireReader reader) => new(reader.ReadBytes(WireFormat.HashLength).ToArray());

    public override void WriteTo(ref WireWriter writer) => writer.WriteBytes(Hash);
}

namespace WorkerService.Protocol;

/// <summary>Receiver to sender: the file is there under its name, and this is the hash of what was written.</summary>
/// <remarks>Body: SHA-256 (32).</remarks>
/// <param name="Hash">The receiver's hash.</param>
internal sealed record ResultMessage(byte[] Hash) : Message
{
    public override MessageKind Kind => MessageKind.Result;

    public static ResultMessage Read(ref WireReader reader) => new(reader.ReadBytes(WireFormat.HashLength).ToArray());

    public override void WriteTo(ref WireWriter writer) => writer.WriteBytes(Hash);
}

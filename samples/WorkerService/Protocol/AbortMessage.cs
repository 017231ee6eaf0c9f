namespace WorkerService.Protocol;

/// <summary>Either way: the transfer has failed here.</summary>
/// <remarks>Body: the reason, with its length before it (2). It comes from a peer: clean it before it is printed.</remarks>
/// <param name="Reason">One sentence.</param>
internal sealed record AbortMessage(string Reason) : Message
{
    public override MessageKind Kind => MessageKind.Abort;

    public static AbortMessage Read(ref WireReader reader) => new(reader.ReadText(WireFormat.MaxReasonLength));

    public override void WriteTo(ref WireWriter writer) => writer.WriteText(Reason);
}

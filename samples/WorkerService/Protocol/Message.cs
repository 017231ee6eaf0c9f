namespace WorkerService.Protocol;

/// <summary>A message of the protocol. <see cref="WireFormat"/> has the order and the header.</summary>
internal abstract record Message
{
    /// <summary>Its number on the wire.</summary>
    public abstract MessageKind Kind { get; }

    /// <summary>Writes the body.</summary>
    public abstract void WriteTo(ref WireWriter writer);
}

using AllocTools;

namespace WorkerService.Protocol;

/// <summary>Receiver to sender: one chunk may be written here.</summary>
/// <remarks>Body: slot (4), the memory in its own binary form.</remarks>
/// <param name="Slot">The receiver's number for it, 0 or more.</param>
/// <param name="Memory">Where to; its length is the most that may be written.</param>
internal sealed record GrantMessage(int Slot, RemoteMemory Memory) : Message
{
    public override MessageKind Kind => MessageKind.Grant;

    public static GrantMessage Read(ref WireReader reader)
    {
        int slot = reader.ReadInt32();
        RemoteMemory memory = reader.ReadRemoteMemory();
        return slot >= 0 && memory.Length > 0 && (memory.Access & RmaAccess.RemoteWrite) != 0
            ? new GrantMessage(slot, memory)
            : throw new FormatException($"a grant of slot {slot} with {memory.Length} bytes for {memory.Access}");
    }

    public override void WriteTo(ref WireWriter writer)
    {
        writer.WriteInt32(Slot);
        writer.WriteRemoteMemory(Memory);
    }
}

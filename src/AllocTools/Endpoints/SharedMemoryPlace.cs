using System.Buffers.Binary;

namespace AllocTools;

/// <summary>Where a process's shared memory is: peers by shared memory must be in the same place.</summary>
/// <param name="Boot">The running system's own number (/proc/sys/kernel/random/boot_id).</param>
/// <param name="Device">The file system that is mounted at /dev/shm, of which each container may have its own.</param>
internal readonly record struct SharedMemoryPlace(Guid Boot, ulong Device)
{
    private const int EncodedLength = 24;
    private const string MountPoint = "/dev/shm";

    /// <summary>This process's place; null where the system doesn't tell it.</summary>
    public static SharedMemoryPlace? FindOwn()
    {
        try
        {
            ulong? device = null;
            // "36 35 98:0 /root /mount-point options …"; of those that are mounted on each other the last is seen.
            foreach (string[] words in File.ReadLines("/proc/self/mountinfo").Select(line => line.Split(' ')))
            {
                if (words.Length > 4 && words[4] == MountPoint && words[2].Split(':') is [var major, var minor] && uint.TryParse(major, out uint high) && uint.TryParse(minor, out uint low))
                    device = ((ulong)high << 32) | low;
            }
            return device is { } found && Guid.TryParse(File.ReadAllText("/proc/sys/kernel/random/boot_id"), out Guid boot) ? new SharedMemoryPlace(boot, found) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>The binary form: 16 bytes of the system's number, as its text has them; 8 of the device, little-endian.</summary>
    public byte[] ToArray()
    {
        byte[] bytes = new byte[EncodedLength];
        Boot.TryWriteBytes(bytes, bigEndian: true, out int length);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(length), Device);
        return bytes;
    }

    /// <summary>Reads a binary form; null where it is none.</summary>
    public static SharedMemoryPlace? Read(ReadOnlySpan<byte> bytes) => bytes.Length == EncodedLength
        ? new SharedMemoryPlace(new Guid(bytes[..16], bigEndian: true), BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]))
        : null;

    /// <summary>Why nothing that is there can be reached from here; null where it can.</summary>
    public string? FindDifference(SharedMemoryPlace other) =>
        Boot != other.Boot ? "the peer is on another machine, which shared memory does not reach; use a provider over the network"
        : Device != other.Device ? $"the peer has another {MountPoint}, such as a container's own; give both the same one, or use a provider over the network"
        : null;
}

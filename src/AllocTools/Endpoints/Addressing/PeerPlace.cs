using System.Buffers.Binary;
using System.Globalization;

namespace AllocTools.Endpoints.Addressing;

/// <summary>The location of a process, as far as it determines which processes can reach each other.</summary>
/// <param name="Boot">The id of the running system (/proc/sys/kernel/random/boot_id).</param>
/// <param name="Network">The network namespace (/proc/self/ns/net): a container has its own loopback interface.</param>
/// <param name="SharedMemory">The file system that is mounted at /dev/shm; a container may have its own. 0 if there is none.</param>
internal readonly record struct PeerPlace(Guid Boot, ulong Network, ulong SharedMemory)
{
    private const int EncodedLength = 32;
    private const string MountPoint = "/dev/shm";

    /// <summary>Returns the place of this process; null if the system does not report it.</summary>
    public static PeerPlace? FindOwn()
    {
        try
        {
            // "net:[4026531840]"
            string[]? name = new FileInfo("/proc/self/ns/net").LinkTarget?.Split('[', ']');
            return name is [_, var number, ..] && ulong.TryParse(number, CultureInfo.InvariantCulture, out ulong network)
                && Guid.TryParse(File.ReadAllText("/proc/sys/kernel/random/boot_id"), out Guid boot)
                ? new PeerPlace(boot, network, FindSharedMemory())
                : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Reads the binary form; null if it is invalid.</summary>
    public static PeerPlace? Read(ReadOnlySpan<byte> bytes) => bytes.Length == EncodedLength
        ? new PeerPlace(new Guid(bytes[..16], bigEndian: true), BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]), BinaryPrimitives.ReadUInt64LittleEndian(bytes[24..]))
        : null;

    /// <summary>
    /// Returns the binary form: 16 bytes for the system's id, in the order of its text, then 8 bytes for each of the
    /// others, little-endian.
    /// </summary>
    public byte[] ToArray()
    {
        byte[] bytes = new byte[EncodedLength];
        Boot.TryWriteBytes(bytes, bigEndian: true, out int length);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(length), Network);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(length + sizeof(ulong)), SharedMemory);
        return bytes;
    }

    /// <summary>Whether both processes see the same network interfaces.</summary>
    public bool SharesNetworkWith(PeerPlace other) => Boot == other.Boot && Network == other.Network;

    /// <summary>Returns why the two processes can't share memory; null if they can.</summary>
    public string? FindReasonAgainstSharedMemory(PeerPlace other) =>
        Boot != other.Boot ? "the peer is on another machine, which shared memory does not reach; use a provider over the network"
        : SharedMemory != other.SharedMemory ? $"the peer has another {MountPoint}, such as a container's own; give both the same one, or use a provider over the network"
        : null;

    private static ulong FindSharedMemory()
    {
        ulong device = 0;
        // "36 35 98:0 /root /mount-point options …"; if several mounts are stacked, the last one is visible.
        foreach (string[] words in File.ReadLines("/proc/self/mountinfo").Select(line => line.Split(' ')))
        {
            if (words.Length > 4 && words[4] == MountPoint && words[2].Split(':') is [var major, var minor]
                && uint.TryParse(major, CultureInfo.InvariantCulture, out uint high) && uint.TryParse(minor, CultureInfo.InvariantCulture, out uint low))
                device = ((ulong)high << 32) | low;
        }
        return device;
    }
}

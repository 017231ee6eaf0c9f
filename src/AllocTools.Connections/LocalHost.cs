using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace AllocTools.Connections;

/// <summary>Determines which processes can share memory with this one, and whether they are alive.</summary>
internal static class LocalHost
{
    /// <summary>
    /// A value that is the same in all processes that see the same processes and the same /dev/shm: a hash of the
    /// kernel's boot id, the PID and IPC namespaces, and the file system of /dev/shm. It is empty if the system does
    /// not report them.
    /// </summary>
    public static Guid Id { get; } = FindId();

    /// <summary>
    /// When a process of this host was started, in ticks since the start of the kernel; null if there is none, or if it
    /// has ended.
    /// </summary>
    public static long? StartOf(int processId)
    {
        try
        {
            // proc(5): the name is in parentheses and may contain any characters; the state is the first field after
            // it, the start the 20th.
            string stat = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{processId}/stat"));
            string[] fields = stat[Math.Min(stat.Length, stat.LastIndexOf(')') + 2)..].Split(' ');
            return fields.Length > 19 && fields[0] is not ("Z" or "X") && long.TryParse(fields[19], CultureInfo.InvariantCulture, out long start) ? start : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static Guid FindId()
    {
        try
        {
            string? processes = new FileInfo("/proc/self/ns/pid").LinkTarget, memory = new FileInfo("/proc/self/ns/ipc").LinkTarget;
            string boot = File.ReadAllText("/proc/sys/kernel/random/boot_id");
            // If one file system is mounted over another, the last one counts.
            string? shared = File.ReadLines("/proc/self/mountinfo").Select(static l => l.Split(' ')).LastOrDefault(static f => f.Length > 4 && f[4] == "/dev/shm")?[2];
            if (processes is null || memory is null || shared is null)
                return Guid.Empty;
            return new Guid(SHA256.HashData(Encoding.UTF8.GetBytes($"{boot.Trim()} {processes} {memory} {shared}")).AsSpan(0, 16));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Guid.Empty;
        }
    }
}

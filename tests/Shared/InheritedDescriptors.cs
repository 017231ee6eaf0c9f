using System.Diagnostics;
using System.Globalization;

namespace AllocTools.Testing;

/// <summary>
/// The sockets, event queues and events that a child process inherits from this one (socket(2), epoll(7), eventfd(2)).
/// </summary>
internal static class InheritedDescriptors
{
    private const int CloseOnExec = 0x80000;

    /// <summary>
    /// Returns what this process has now, by the kernel's names. Events and event queues have no names of their own, so
    /// their numbers are included.
    /// </summary>
    public static HashSet<string> Own() => [.. Of("self").Values];

    /// <summary>Returns what a child started now inherits that this process did not have before.</summary>
    public static List<string> Inherited(HashSet<string> before)
    {
        using Process child = Process.Start("/bin/sleep", "60");
        try
        {
            return [.. Of(child.Id.ToString(CultureInfo.InvariantCulture)).Values.Where(s => !before.Contains(s))];
        }
        finally
        {
            child.Kill();
            child.WaitForExit();
        }
    }

    /// <summary>Waits until a child would inherit nothing that this process did not have before.</summary>
    /// <returns>What a child inherits: empty, or what is left after half a minute.</returns>
    public static List<string> InheritedInTheEnd(HashSet<string> before)
    {
        List<string> inherited = [];
        SpinWait.SpinUntil(
            () => !Of("self").Any(s => !before.Contains(s.Value) && IsInheritable(s.Key)) && (inherited = Inherited(before)).Count == 0, TestTime.Seconds(30));
        return inherited;
    }

    /// <summary>Whether a child that is started now inherits a descriptor.</summary>
    public static bool IsInheritable(string descriptor)
    {
        try
        {
            string flags = File.ReadAllLines($"/proc/self/fdinfo/{descriptor}").Single(l => l.StartsWith("flags:", StringComparison.Ordinal));
            return (Convert.ToInt32(flags[6..].Trim(), 8) & CloseOnExec) == 0;
        }
        catch (IOException)
        {
            return false;
        }
    }

    private static Dictionary<string, string> Of(string process)
    {
        Dictionary<string, string> found = [];
        foreach (string descriptor in Directory.GetFiles($"/proc/{process}/fd"))
        {
            string number = Path.GetFileName(descriptor);
            if (LinkOf(descriptor) is not { } name)
                continue;
            if (name.StartsWith("socket:", StringComparison.Ordinal))
                found[number] = name;
            else if (name is "anon_inode:[eventpoll]" or "anon_inode:[eventfd]")
                found[number] = $"{name} {number}";
        }
        return found;
    }

    private static string? LinkOf(string path)
    {
        try
        {
            return new FileInfo(path).LinkTarget;
        }
        catch (IOException)
        {
            return null;
        }
    }
}

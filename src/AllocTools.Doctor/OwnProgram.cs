using System.Diagnostics;

namespace AllocTools.Doctor;

/// <summary>This program, started once more.</summary>
internal static class OwnProgram
{
    /// <summary>This program with the arguments that it was started with, and some more. Its standard input and output are pipes.</summary>
    public static ProcessStartInfo Again(params ReadOnlySpan<string> more)
    {
        string program = Environment.ProcessPath!;
        string[] arguments = Environment.GetCommandLineArgs();
        // If it was started as `dotnet Program.dll`, the program is dotnet.
        string[] first = Path.GetFileNameWithoutExtension(program) == "dotnet" ? [arguments[0]] : [];
        return new ProcessStartInfo(program, [.. first, .. arguments[1..], .. more]) { RedirectStandardInput = true, RedirectStandardOutput = true };
    }
}

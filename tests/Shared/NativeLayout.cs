using System.Diagnostics;
using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.InteropServices;

namespace AllocTools.Testing;

/// <summary>
/// Determines how the runtime lays out types that are passed to native code, and runs C programs that report the layout
/// of theirs.
/// </summary>
internal static class NativeLayout
{
    public static long SizeOf(Type type)
    {
        DynamicMethod method = new("size", typeof(int), [], typeof(NativeLayout).Module, skipVisibility: true);
        ILGenerator il = method.GetILGenerator();
        il.Emit(OpCodes.Sizeof, type.IsPointer || type.IsFunctionPointer ? typeof(nint) : type);
        il.Emit(OpCodes.Ret);
        return (int)method.Invoke(null, null)!;
    }

    /// <summary>
    /// Returns the managed offset: Marshal.OffsetOf reports the marshalled form and refuses function pointers.
    /// </summary>
    public static long OffsetOf(FieldInfo field)
    {
        DynamicMethod method = new("offset", typeof(nint), [typeof(nint)], typeof(NativeLayout).Module, skipVisibility: true);
        ILGenerator il = method.GetILGenerator();
        il.Emit(OpCodes.Ldarg_0);
        il.Emit(OpCodes.Ldflda, field);
        il.Emit(OpCodes.Conv_U);
        il.Emit(OpCodes.Ldarg_0);
        il.Emit(OpCodes.Sub);
        il.Emit(OpCodes.Ret);
        nint memory = Marshal.AllocHGlobal(4096); // ldflda touches it
        try
        {
            return (nint)method.Invoke(null, [memory])!;
        }
        finally
        {
            Marshal.FreeHGlobal(memory);
        }
    }

    /// <summary>Compiles a program, with warnings as errors, and runs it.</summary>
    /// <returns>The numbers on each line that it prints, by the word before them.</returns>
    public static Dictionary<string, long[]> Run(string source, params string[] options)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("alloctools-layout-");
        try
        {
            string file = Path.Combine(folder.FullName, "layout.c");
            string program = Path.Combine(folder.FullName, "layout");
            File.WriteAllText(file, source);
            Execute("cc", ["-std=gnu11", "-Wconversion", "-Wtraditional-conversion", "-Wno-unknown-warning-option", "-Wno-deprecated-declarations", "-Werror", "-o", program, file, .. options]);
            return Execute(program)
                .Split('\n', StringSplitOptions.RemoveEmptyEntries)
                .Select(line => line.Split(' '))
                .ToDictionary(parts => parts[0], parts => parts[1..].Select(long.Parse).ToArray());
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    /// <summary>Runs a program until it exits.</summary>
    /// <returns>What it prints.</returns>
    public static string Execute(string program, params string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0
            ? output
            : throw new InvalidOperationException($"{program} ended with {process.ExitCode}: {errors.Result}");
    }
}
